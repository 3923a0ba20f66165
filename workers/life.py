"""An attempt's life: it acts, and now and then it waits for what it runs, which needs nobody's thread."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final, NamedTuple, Protocol, TypeAlias, TypeVar

from proofq.policies.ended import Ending
from proofq.workers.clock import Clock
from proofq.workers.record import Lease

T = TypeVar("T")

#: Seconds for which the start of an attempt waits for its end, to be written down with it.
AT_ONCE_S: Final = 0.05


class Running(Protocol):
    """A started first process of an attempt."""

    pid: int
    start_ticks: int
    #: Whether the process has other attempts, too, beside it or after it.
    shared: bool
    #: When its start was heard of, in seconds of the boot clock; 0 where nobody wrote that down.
    started_s: float

    @property
    def heard_s(self) -> float:
        """When it last printed or reported progress, in seconds of the boot clock; 0 for never."""

    @property
    def progress(self) -> tuple[int, str]:
        """How often `ctx.progress` gave new evidence, and the latest, as JSON."""

    def kill(self, reason: str) -> None:
        """Begins to end the whole tree (TERM, grace, KILL); returns at once, the first reason is kept."""

    def wait_ended(self, timeout_s: float | None) -> bool:
        """Waits until it ended and what it left running is dead; False at the timeout."""

    def when_ended(self, call: Callable[[], None]) -> None:
        """Has `call` called once that is so, at once where it is; it must neither wait nor raise."""

    def ending(self) -> Ending: ...


class Wait(NamedTuple):
    """What an attempt waits for: the end of what it runs, until `until_s` of the boot clock (None: for ever)."""

    running: Running
    until_s: float | None


#: What acts until it has to wait. It is told whether what it waited for has ended, and leaves the lease that its slot
#: got with its settlement.
Life: TypeAlias = Generator[Wait, bool, Lease | None]


def through(life: Generator[Wait, bool, T], clock: Clock) -> T:
    """Live it, and wait in this thread; what it leaves."""
    try:
        wait = next(life)
        while True:
            rest_s = None if wait.until_s is None else max(0.0, wait.until_s - clock.boottime())
            wait = life.send(wait.running.wait_ended(rest_s))
    except StopIteration as over:
        left: T = over.value
        return left
