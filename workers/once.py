"""Something that happens once: threads wait for it, and who asked is called."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Once:
    """Not yet, or for good. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._happened = False
        #: Only once a thread waits: mostly nobody does.
        self._event: threading.Event | None = None
        self._calls: list[Callable[[], None]] = []

    def is_set(self) -> bool:
        return self._happened

    def wait(self, timeout_s: float | None) -> bool:
        """Whether it has happened by then; None waits for ever."""
        if self._happened or timeout_s == 0:
            return self._happened
        with self._lock:
            if self._happened:
                return True
            event = self._event = self._event or threading.Event()
        return event.wait(timeout_s)

    def when(self, call: Callable[[], None]) -> None:
        """Have `call` called once it has happened, by whoever says so; at once and here where it has."""
        with self._lock:
            if not self._happened:
                self._calls.append(call)
                return
        call()

    def set(self) -> None:
        """It has happened; again is no more."""
        with self._lock:
            self._happened = True
            if self._event is not None:
                self._event.set()
            calls, self._calls = self._calls, []
        for call in calls:
            call()
