"""The processes that a test has started, found again in /proc: by a mark in their environment, or by their site."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from proofq.workers import proctree, standby

#: The environment variable that everything a site starts carries: "<site>.<number of the worker>", three digits.
MARK = "PQ_SITE_MARK"
#: Processes of a worker by what their command line says, in the order of their birth.
_FORKSERVER = "proofq.workers.forkserver"
_ROLES = {
    "proofq worker": "launcher",
    "proofq.workers.serve": "supervisor",
    _FORKSERVER: "forkserver",
    "proofq.workers.verifier": "verifier",
}
ROLES = (*_ROLES.values(), "standby", "child")


@dataclass(frozen=True)
class Found:
    """One process of a worker. `role`: one of ROLES, "child" for all that is none of the others."""

    pid: int
    ppid: int
    start_ticks: int
    role: str

    def signal(self, number: int) -> bool:
        """Send a signal to this very process; False when it is gone."""
        try:
            handle = os.pidfd_open(self.pid)
        except OSError:
            return False
        try:
            now = proctree.read(self.pid)
            if now is None or now.dead or now.start_ticks != self.start_ticks:
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        else:
            return True
        finally:
            os.close(handle)

    @property
    def alive(self) -> bool:
        """Whether this very process runs, or is stopped; a zombie is dead."""
        now = proctree.read(self.pid)
        return now is not None and not now.dead and now.start_ticks == self.start_ticks


def of_worker(mark: str) -> list[Found]:
    """The living processes of the worker with this mark and all below them, launcher first."""
    processes = proctree.snapshot()
    pids = set(proctree.find_by_marker(MARK, mark))
    for pid in list(pids):
        pids.update(one.pid for one in proctree.descendants(pid, processes) if not one.dead)
    lines = {pid: _command_line(pid) for pid in pids}
    found = []
    for pid, line in lines.items():
        if pid in processes and line:
            # A forked child shows the command line of the forkserver it was forked from.
            forked = _FORKSERVER in line and _FORKSERVER in lines.get(processes[pid].ppid, "")
            role = _forked(pid) if forked else next((role for word, role in _ROLES.items() if word in line), "child")
            found.append(Found(pid, processes[pid].ppid, processes[pid].start_ticks, role))
    # Two that were born within one tick of the clock are told apart by their numbers.
    return sorted(found, key=lambda one: (ROLES.index(one.role), one.start_ticks, one.pid))


def _forked(pid: int) -> str:
    """A child that has not been given its attempt yet has a name of its own."""
    return "standby" if _read(pid, "comm").strip() == standby.NAME else "child"


def of_site(site: str, root: Path) -> list[int]:
    """Every living process that a site has left: it has the mark, or works in its directory, or names it."""
    marked = set(proctree.find_by_marker(MARK, f"{site}."))
    found = set(marked)
    for process in proctree.snapshot().values():
        if not process.dead and process.pid != os.getpid() and process.pid not in found and _names(process.pid, root):
            found.add(process.pid)
    return sorted(found)


def end(pids: list[int]) -> None:
    """Freeze, then kill these."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def describe(pid: int) -> str:
    """A line about a process that should not be there: who it is, who started it, when, and what it waits for."""
    process = proctree.read(pid)
    if process is None:
        return f"{pid} is gone"
    environ = _read(pid, "environ").split("\0")
    marks = [one for one in environ if one.startswith((MARK, "PROOFQ_OWNER", "PROOFQ_TASK_ID"))]
    age_s = float(Path("/proc/uptime").read_text().split()[0]) - process.start_ticks / os.sysconf("SC_CLK_TCK")
    waits = f"{_read(pid, 'wchan')} {_read(pid, 'syscall')}".strip()
    return (
        f"{pid} below {process.ppid}, {process.state}, {age_s:.1f} s old, {_command_line(pid)!r}, {marks}, "
        f"waits in {waits!r}"
    )


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _names(pid: int, root: Path) -> bool:
    text = str(root)
    with suppress(OSError):
        if os.readlink(f"/proc/{pid}/cwd").startswith(text):  # noqa: PTH115 - the target may be gone
            return True
    with suppress(OSError):
        return text.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False
