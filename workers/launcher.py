"""The launcher: the process one starts and signals. It keeps a supervisor running per lane, and does nothing else.

Single-threaded, asleep unless something happens, and without a connection to anything, so that there is little it
could die of. It is a subreaper: what a lane leaves behind when its supervisor and its forkserver are both gone
becomes its child, and is killed.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proofq.workers import killing, proctree
from proofq.workers.clock import Clock, SystemClock

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

log = logging.getLogger(__name__)

#: A lane is restarted at once, up to so many times within so many seconds; then it waits before each restart.
RESTARTS, RESTARTS_WITHIN_S, BACKOFF_S = 10, 60.0, 30.0
#: Seconds that a dead supervisor's forkserver is given to kill what is below it and to bury its owner.
CLEAN_UP_S = 2.0
#: A supervisor that exits so says that another one would fare no better: a refused declaration.
FINAL_CODES = frozenset({2})

_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
#: What a supervisor sends that was told through Redis to drain. Unlike TERM it never asks for haste: both lanes may
#: have been told, and a worker that drains already goes on doing so.
DRAIN_SIGNAL = signal.SIGUSR1


@dataclass(frozen=True)
class LaneCommand:
    """How the supervisor of a lane is started; `--lifeline-fd N` is put behind `argv`. `env` None: this process's."""

    lane: str
    argv: Sequence[str]
    env: Mapping[str, str] | None = None


def launch(
    lanes: Sequence[LaneCommand],
    *,
    burst: bool = False,
    final_codes: Collection[int] = FINAL_CODES,
    clock: Clock | None = None,
) -> int:
    """Run the lanes until they are told to end; returns the exit code for this process.

    TERM (or INT, HUP) is passed on to the supervisors, which drain; each further one is passed on too. `DRAIN_SIGNAL`
    is the first TERM, and nothing after it. 0 once all have ended. With `burst` a supervisor that exits 0 has done its
    work and is not restarted. One that exits with one of `final_codes` ends all lanes, and its code is returned.
    Children that this process has already are left alone; nothing else below it is left alive.
    """
    return _Launcher(lanes, burst, final_codes, clock or SystemClock()).run()


class RestartBudget:
    """When a lane may be started again."""

    def __init__(self) -> None:
        self._restarts: deque[float] = deque()

    def start_at(self, now: float) -> float:
        """The time for the restart that is wanted `now`, both in seconds of one clock."""
        while self._restarts and self._restarts[0] <= now - RESTARTS_WITHIN_S:
            self._restarts.popleft()
        at = now if len(self._restarts) < RESTARTS else now + BACKOFF_S
        self._restarts.append(at)
        return at


class _Lane:
    """One lane: its supervisor while it runs, or the time of its next start."""

    def __init__(self, command: LaneCommand, start_at: float) -> None:
        self.command = command
        self.process: subprocess.Popen[bytes] | None = None
        self.start_at: float | None = start_at
        self.budget = RestartBudget()

    @property
    def over(self) -> bool:
        return self.process is None and self.start_at is None


class _Launcher:
    def __init__(self, lanes: Sequence[LaneCommand], burst: bool, final: Collection[int], clock: Clock) -> None:
        self._clock = clock
        self._burst = burst
        self._final = final
        self._lanes = [_Lane(command, clock.boottime()) for command in lanes]
        self._stopping = False
        self._code = 0
        #: What was adopted: pid to the time from which on it is killed.
        self._adopted: dict[int, float] = {}
        self._spared: set[int] = set()
        self._lifeline = -1

    def run(self) -> int:
        with _waking() as wake, _pipe() as (lifeline, _):
            self._lifeline = lifeline
            self._spared = {one.pid for one in proctree.children(os.getpid())}
            proctree.become_subreaper()
            while not all(lane.over for lane in self._lanes):
                self._step(wake)
            # The forkserver of a supervisor that died last has its time to clean up, too.
            until = self._clock.boottime() + CLEAN_UP_S
            while self._adopted and self._clock.boottime() < until:
                self._step(wake)
            left = killing.kill_all(self._left_behind, spare=self._spared, clock=self._clock)
            if left:
                log.error("survivors", extra={"pids": left})
        return self._code

    def _step(self, wake: _Wake) -> None:
        self._start_due()
        for signum in wake.wait(self._pause()):
            if signum in _STOP_SIGNALS or (signum == DRAIN_SIGNAL and not self._stopping):
                self._stop(signum)
        self._reap()
        self._kill_overdue()

    def _pause(self) -> float | None:
        """Seconds until something is due; None when nothing is."""
        due = [lane.start_at for lane in self._lanes if lane.start_at is not None] + list(self._adopted.values())
        return max(0.0, min(due) - self._clock.boottime()) if due else None

    # --- lanes ---

    def _start_due(self) -> None:
        now = self._clock.boottime()
        for lane in self._lanes:
            if lane.start_at is None or lane.start_at > now:
                continue
            lane.start_at = None
            try:
                lane.process = subprocess.Popen(
                    [*lane.command.argv, "--lifeline-fd", str(self._lifeline)],
                    env=lane.command.env,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[self._lifeline],
                    # A terminal's Ctrl-C is for the launcher alone, which passes it on as what it means.
                    start_new_session=True,
                )
                log.info("lane_started", extra={"lane": lane.command.lane, "pid": lane.process.pid})
            except OSError as error:
                log.error("lane_not_started", extra={"lane": lane.command.lane, "problem": str(error)})
                lane.start_at = lane.budget.start_at(now) + 1.0

    def _stop(self, signum: int) -> None:
        """The first asks for a drain, the next for haste: which it is, the supervisors count themselves."""
        log.info("worker_stopping", extra={"signal": signal.Signals(signum).name, "again": self._stopping})
        self._stopping = True
        for lane in self._lanes:
            lane.start_at = None
            if lane.process is not None:
                killing.send(lane.process.pid, signal.SIGTERM)

    def _reap(self) -> None:
        """Collect whoever ended: supervisors, and what was adopted."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._adopted.pop(pid, None)
            for lane in self._lanes:
                if lane.process is not None and lane.process.pid == pid:
                    self._ended(lane, lane.process, os.waitstatus_to_exitcode(status))

    def _ended(self, lane: _Lane, process: subprocess.Popen[bytes], code: int) -> None:
        process.returncode = code
        lane.process = None
        now = self._clock.boottime()
        self._adopt(now)
        fields = {"lane": lane.command.lane, "pid": process.pid, "exit_code": code}
        if self._stopping or (self._burst and code == 0):
            log.info("lane_ended", extra=fields)
        elif code in self._final:
            log.error("lane_refused", extra=fields)
            self._code = code
            self._stop(signal.SIGTERM)
        else:
            lane.start_at = lane.budget.start_at(now)
            log.warning("lane_died", extra={**fields, "restart_in_s": round(lane.start_at - now, 1)})

    # --- what dead lanes leave behind ---

    def _adopt(self, now: float) -> None:
        """Give what has become ours the time to clean up after itself."""
        for one in self._orphans():
            self._adopted.setdefault(one.pid, now + CLEAN_UP_S)

    def _kill_overdue(self) -> None:
        """Kill whose time is up, without waiting: another lane may need us. What it leaves is looked at again."""
        now = self._clock.boottime()
        overdue = [pid for pid, due in self._adopted.items() if due <= now]
        if not overdue:
            return
        log.warning("leftovers_killed", extra={"pids": overdue})
        killing.freeze_and_kill(lambda: [one for pid in overdue for one in proctree.tree(pid)], self._spared)
        for pid in overdue:
            self._adopted[pid] = now + CLEAN_UP_S
        # Those below them are ours now.
        self._adopt(now)

    def _orphans(self) -> list[proctree.Process]:
        """Children of ours that are no supervisor: a living lane's supervisor adopts its orphans itself."""
        known = self._spared | {lane.process.pid for lane in self._lanes if lane.process is not None}
        return [one for one in proctree.children(os.getpid()) if one.pid not in known and not one.dead]

    def _left_behind(self) -> list[proctree.Process]:
        self._reap()
        return [one for one in proctree.descendants(os.getpid(), exclude=self._spared) if not one.dead]


class _Wake:
    """Signals as numbers, waited for."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def wait(self, timeout_s: float | None) -> bytes:
        """The numbers of the signals that came; b"" at the timeout."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.poll(None if timeout_s is None else timeout_s * 1000)
        with suppress(BlockingIOError):
            return self._sock.recv(4096)
        return b""


@contextmanager
def _waking() -> Iterator[_Wake]:
    """Turn the signals this process lives on into numbers on a socket, and back into what they were afterwards."""
    reading, writing = socket.socketpair()
    reading.setblocking(False)
    writing.setblocking(False)
    # What is ignored stays so: nohup means it.
    heard = [
        one for one in (*_STOP_SIGNALS, DRAIN_SIGNAL, signal.SIGCHLD) if signal.getsignal(one) is not signal.SIG_IGN
    ]
    before = {one: signal.signal(one, lambda *_: None) for one in heard}
    signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    with reading, writing:
        try:
            yield _Wake(reading)
        finally:
            signal.set_wakeup_fd(-1)
            for one, handler in before.items():
                signal.signal(one, handler)


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe2(os.O_CLOEXEC)
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)
