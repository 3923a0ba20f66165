"""Whether the event loop that many attempts share still turns, and which of them keeps it from turning.

Pure. The loop's process writes down what it does in three numbers; whoever watches reads them now and then. All times
are seconds of one clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

#: A look that comes so much later than it was due has stood still itself (a paused host, say), and perhaps the loop
#: with it: it judges nothing and begins anew.
LATE_S: Final = 1.0


class Page(NamedTuple):
    """What a loop says of itself: `running` is the number of the attempt whose step runs, 0 for none; `steps` were
    begun and `turns` made so far. A loop with nothing to do still turns, twice a second."""

    running: int = 0
    steps: int = 0
    turns: int = 0


@dataclass(frozen=True)
class Watch:
    """A loop under watch: as it was at the last look, and since when it has been so."""

    page: Page
    since_s: float
    looked_s: float


def begin(now_s: float) -> Watch:
    """Begin to watch a loop of which nothing is known yet."""
    return Watch(Page(), now_s, now_s)


def look(watch: Watch, page: Page, now_s: float, every_s: float) -> Watch:
    """The watch, knowing how the loop is now; looks are meant to come `every_s` apart."""
    if page != watch.page or now_s > watch.looked_s + every_s + LATE_S:
        return Watch(page, now_s, now_s)
    return replace(watch, looked_s=now_s)


def blocked_s(watch: Watch) -> float:
    """For how long it has been seen to stand still."""
    return watch.looked_s - watch.since_s
