"""The threads that do what slots have to do: as many as there is work at a time, few of them most of the time.

What only waits needs no thread. What blocks (a proof that takes its time, a Redis that is away) keeps the one it has,
and others come for the rest.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from proofq.workers.clock import Clock

#: A thread that waits needs little stack.
STACK_BYTES: Final = 512 * 1024
#: Threads that are started as soon as there is work for them.
AT_ONCE: Final = 4
#: Seconds that work may lie around before a further thread is started for it.
LATE_S: Final = 0.05
#: A thread without work ends after so many seconds.
IDLE_S: Final = 10.0


class Threads:
    """At most `most` threads. A job must not raise. Thread-safe."""

    def __init__(self, most: int, clock: Clock) -> None:
        self._most = most
        self._clock = clock
        self._changed = threading.Condition(threading.Lock())
        self._jobs: deque[Callable[[], None]] = deque()
        self._idle = 0
        self._count = 0
        self._taken_s = clock.boottime()
        threading.stack_size(STACK_BYTES)

    def do(self, job: Callable[[], None]) -> bool:
        """Have it done, after what was asked before; True where it has to wait, and somebody is to `look`."""
        with self._changed:
            self._jobs.append(job)
            if self._idle:
                self._changed.notify()
            elif self._count < min(AT_ONCE, self._most):
                self._start()
            return len(self._jobs) > self._idle

    def look(self) -> bool:
        """Start a further thread where work lies around; whether one should look again soon."""
        with self._changed:
            if not self._jobs:
                return False
            if self._count < self._most and self._clock.boottime() - self._taken_s >= LATE_S:
                self._start()
            return True

    def _start(self) -> None:
        self._count += 1
        self._taken_s = self._clock.boottime()
        threading.Thread(target=self._work, name="hand", daemon=True).start()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job()

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while not self._jobs:
                if self._idle and self._count > AT_ONCE:
                    # Those that blocked no longer do: whoever is too many only takes the interpreter from the others.
                    self._count -= 1
                    return None
                self._idle += 1
                told = self._changed.wait(IDLE_S)
                self._idle -= 1
                if not told and not self._jobs:
                    self._count -= 1
                    return None
            self._taken_s = self._clock.boottime()
            return self._jobs.popleft()
