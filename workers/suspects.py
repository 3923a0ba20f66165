"""Who may have killed a worker is tried apart from others of whom the same is true.

When a worker dies, nobody knows which of its tasks did it, so each is charged with a death. Two that are charged alike
and start side by side again would be charged alike again, until the innocent one is quarantined with the other.
"""

from __future__ import annotations

import threading
from typing import Final

from proofq.workers.clock import Clock

#: What kills its worker mostly does so soon: after so long beside it, the next suspect may start.
APART_S: Final = 30.0


class Suspects:
    """At most one suspect of this worker is within the first `APART_S` of its attempt."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._fence = ""
        self._since_s = 0.0

    def enter(self, fence: str) -> bool:
        """Whether the attempt may start now; if so it is the one on trial."""
        now_s = self._clock.boottime()
        with self._lock:
            if self._fence not in ("", fence) and now_s - self._since_s < APART_S:
                return False
            self._fence, self._since_s = fence, now_s
            return True

    def leave(self, fence: str) -> None:
        """The attempt has ended; for one that is not on trial nothing changes."""
        with self._lock:
            if self._fence == fence:
                self._fence = ""
