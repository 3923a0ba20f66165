"""Whether an attempt that is alive still makes progress: when to look at it next, and when it counts as stalled.

Pure. Evidence of progress is that something changed: bytes printed, another evidence given to `ctx.progress`, a
transcript file that grew. What the evidence says is never judged. All times are seconds of one clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, TypeAlias

#: How transcript files look: (path, size in bytes, mtime in ns) of each.
Transcripts: TypeAlias = frozenset[tuple[str, int, int]]

#: A watch that comes so much later than it was due has stood still itself (a paused host, say), and perhaps the agent
#: with it: it judges nothing and begins anew.
LATE_S: Final = 1.0


@dataclass(frozen=True)
class Watch:
    """An attempt under watch: `since_s` is its last evidence, `due_s` when to look whether it has stalled."""

    stall_after_s: float
    since_s: float
    transcripts: Transcripts

    @property
    def due_s(self) -> float:
        return self.since_s + self.stall_after_s


def begin(stall_after_s: float, transcripts: Transcripts, now_s: float) -> Watch:
    """Begin to watch: the start itself is evidence. `transcripts` are those that were there before."""
    return Watch(stall_after_s, now_s, transcripts)


def heard(watch: Watch, heard_s: float) -> Watch:
    """The watch, knowing when the attempt last printed or reported something new (0 for never)."""
    return replace(watch, since_s=max(watch.since_s, heard_s))


def look(watch: Watch, transcripts: Transcripts, now_s: float) -> Watch | None:
    """Judge an attempt at or after `due_s`, with how its transcripts look now; None means that it is stalled.

    A transcript that changed since the last look counts as evidence of now, since files tell their times by another
    clock: an agent that shows no other sign of life is given up after at most twice `stall_after_s`.
    """
    if now_s < watch.due_s:
        return watch
    if transcripts != watch.transcripts or now_s > watch.due_s + LATE_S:
        return begin(watch.stall_after_s, transcripts, now_s)
    return None
