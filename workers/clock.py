"""Time and randomness: the only place that reads either. Everything else is given a `Clock`."""

from __future__ import annotations

import random
import secrets
import threading
import time
from datetime import UTC, datetime
from typing import Final, Protocol

#: CLOCK_REALTIME_COARSE of linux/time.h, which Python has no name for.
_COARSE: Final = 5
#: Seconds between two ticks of the clock by which the kernel stamps files.
STAMP_TICK_S: Final = time.clock_getres(_COARSE)


class Clock(Protocol):
    """What code that acts may know of time and chance."""

    def script_now(self) -> str:
        """Milliseconds for a Lua script; empty means the server's own TIME, and only tests say otherwise."""

    def wall(self) -> datetime:
        """Now, in UTC, of this host: for people, RQ's fields, and to measure a time of day that somebody named."""

    def boottime(self) -> float:
        """Seconds that go on through suspend: what a silent owner counts its own silence with."""

    def stamp_ns(self) -> int:
        """No change to a file was stamped later until now, where this host's kernel stamps; in ns since the epoch."""

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

    def stamp_ns(self) -> int:
        return latest_stamp_ns()

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


def earliest_stamp_ns() -> int:
    """No change made from now on is stamped earlier where the kernel stamps; in nanoseconds since the epoch."""
    return time.clock_gettime_ns(_COARSE)


def latest_stamp_ns() -> int:
    """No change made until now was stamped later: since Linux 6.13 some are stamped between two ticks."""
    return time.time_ns()


def iso(ms: int | float | None) -> str | None:
    """ISO 8601 in UTC of epoch milliseconds, as every JSON of ours shows times; None stays None."""
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
