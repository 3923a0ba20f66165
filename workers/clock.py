"""Time and randomness: the only place that reads either. Everything else is given a `Clock`."""

from __future__ import annotations

import random
import secrets
import threading
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What code that acts may know of time and chance."""

    def script_now(self) -> str:
        """Milliseconds for a Lua script; empty means the server's own TIME, and only tests say otherwise."""

    def wall(self) -> datetime:
        """Now, in UTC, of this host: for people, RQ's fields, and to measure a time of day that somebody named."""

    def boottime(self) -> float:
        """Seconds that go on through suspend: what a silent owner counts its own silence with."""

    def sleep(self, seconds: float) -> None: ...

    def token(self) -> str:
        """Eight fresh hex digits: a request id, or the random part of a fence."""

    def name(self) -> str:
        """Sixteen fresh hex digits: a task's or an owner's id."""

    def jitter(self) -> float:
        """A fraction in [0, 1)."""


class SystemClock:
    """The real one. `stop` (an event) cuts sleeps short, so that a stopping process does not wait."""

    def __init__(self, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()

    def script_now(self) -> str:
        return ""

    def wall(self) -> datetime:
        return datetime.now(UTC)

    def boottime(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def sleep(self, seconds: float) -> None:
        self._stop.wait(seconds)

    def token(self) -> str:
        return secrets.token_hex(4)

    def name(self) -> str:
        return secrets.token_hex(8)

    def jitter(self) -> float:
        return random.random()  # noqa: S311 - spreads load, protects nothing


class WorkerClock(SystemClock):
    """The same for a process that never forks and runs nobody else's code: its tokens need no call of the kernel."""

    def __init__(self) -> None:
        super().__init__()
        self._random = random.Random(secrets.randbits(256))  # noqa: S311 - tells requests apart, protects nothing

    def token(self) -> str:
        return f"{self._random.getrandbits(32):08x}"


def iso(ms: int | float | None) -> str | None:
    """ISO 8601 in UTC of epoch milliseconds, as every JSON of ours shows times; None stays None."""
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
