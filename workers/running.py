"""One started process as its supervisor sees it: how it starts, how it is stopped, and how it ended."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proofq.policies.ended import Ending
from proofq.workers.once import Once

if TYPE_CHECKING:
    from collections.abc import Callable

    from proofq.workers.output import Streams
    from proofq.workers.report import StartError

#: Seconds between TERM and KILL where nobody says otherwise.
GRACE_S = 1.0
#: `killed_by` of what died with its guard.
GUARD_LOST = "guard"


@dataclass(frozen=True, slots=True)
class Usage:
    """What the first process and those it waited for have used."""

    max_rss_kib: int = 0
    user_s: float = 0.0
    system_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a first process ended; nothing it left running is alive, except `survivors`.

    `exit_code` or `signal` is set; neither when its guard was lost and nobody saw the end. `killed_by` is the reason
    of ours that was sent before it ended, "" when there was none. `report` is {"result": …} or {"failure": …} of a
    function, else None.
    """

    exit_code: int | None
    signal: int | None
    killed_by: str
    usage: Usage
    survivors: tuple[int, ...]
    report: dict[str, Any] | None
    start_error: StartError | None


class Running:
    """A first process. Thread-safe; any thread may kill, any number may wait."""

    def __init__(self, sid: int, streams: Streams, send_kill: Callable[[int, str, float], None]) -> None:
        #: Number of the spawn, unique within its supervisor.
        self.sid = sid
        self.pid = 0
        self.start_ticks = 0
        self._streams = streams
        self._send_kill = send_kill
        self._lock = threading.Lock()
        self._up = threading.Event()
        self._over = Once()
        self._ended: Ended | None = None

    def wait_started(self, timeout_s: float | None) -> bool:
        """True once the start is confirmed; False at the timeout, or when it ended without having come up."""
        self._up.wait(timeout_s)
        return self._streams.report.started

    def wait_ended(self, timeout_s: float | None) -> bool:
        """True once it has ended and what it left running is dead; False at the timeout."""
        return self._over.wait(timeout_s)

    def when_ended(self, call: Callable[[], None]) -> None:
        """Have `call` called once that is so, at once where it is; it must neither wait nor raise."""
        self._over.when(call)

    def kill(self, reason: str, grace_s: float = GRACE_S) -> None:
        """Begin to end the whole tree: TERM, `grace_s` seconds, KILL. Returns at once; the first reason is kept.

        No error when it has ended already, or when its guard is gone and kills it anyway.
        """
        if not self._over.is_set():
            self._send_kill(self.sid, reason, grace_s)

    @property
    def ended(self) -> Ended | None:
        """How it ended, None while it runs."""
        return self._ended

    def ending(self) -> Ending:
        """How it ended, for the policy that judges it. Only after `wait_ended` said True."""
        ended = self._ended
        if ended is None:
            raise RuntimeError("asked for the ending of a process that runs")
        return Ending(
            ended.exit_code,
            ended.signal,
            ended.killed_by,
            ended.report,
            self.output_tail(),
            self.full_stdout(),
            self._streams.stdout.newest(),
            self.stderr_tail().decode("utf-8", "replace"),
            steps=self._streams.report.steps,
            output_bytes=self.output_bytes,
        )

    @property
    def progress(self) -> tuple[int, str]:
        """How often `ctx.progress` gave new evidence, and the latest, as JSON."""
        report = self._streams.report
        return report.progress_count, report.progress

    @property
    def started_s(self) -> float:
        """When its start was confirmed, in seconds of the boot clock; 0 before."""
        return self._streams.started_s

    @property
    def heard_s(self) -> float:
        """When it last printed or gave new evidence to `ctx.progress`, in seconds of the boot clock; 0 for never."""
        return self._streams.heard_s

    @property
    def output_bytes(self) -> int:
        """Bytes printed so far, stdout and stderr."""
        return self._streams.stdout.total + self._streams.stderr.total

    def output_tail(self) -> str:
        """The last 64 KiB of stdout, then of stderr; what is no UTF-8 is replaced."""
        return b"".join((self._streams.stdout.tail(), self._streams.stderr.tail())).decode("utf-8", "replace")

    def stdout_tail(self) -> bytes:
        """The last 64 KiB of stdout."""
        return self._streams.stdout.tail()

    def stderr_tail(self) -> bytes:
        """The last 64 KiB of stderr."""
        return self._streams.stderr.tail()

    def full_stdout(self) -> bytes | None:
        """All of stdout, for who asked to `keep_stdout`; None when it was more than its cap, or the disk failed."""
        return self._streams.stdout.whole()

    # --- for the spawner ---

    def reported(self) -> None:
        """The report has said something new, or has ended."""
        report = self._streams.report
        if report.started or report.start_error is not None:
            self._up.set()

    def end(
        self, exit_code: int | None, signum: int | None, killed_by: str, usage: Usage, survivors: list[int]
    ) -> None:
        """It is over; what it printed and reported has been read. Only the first call counts."""
        report = self._streams.report
        with self._lock:
            if self._ended is None:
                self._ended = Ended(
                    exit_code, signum, killed_by, usage, tuple(survivors), report.last, report.start_error
                )
        self._up.set()
        self._over.set()
