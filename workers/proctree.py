"""Processes as /proc shows them: who is who, and who descends from whom.

A zombie counts as dead everywhere. A pid alone names nothing, since pids are used again: what is remembered
of a process is a `ProcessId`.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_PR_SET_NAME, _PR_GET_NAME, _PR_SET_CHILD_SUBREAPER = 15, 16, 36


class Process(NamedTuple):
    """One line of /proc/PID/stat. `start_ticks` counts clock ticks since boot."""

    pid: int
    ppid: int
    pgid: int
    session: int
    state: str
    start_ticks: int
    threads: int

    @property
    def dead(self) -> bool:
        """True of a zombie, and of a process the kernel is taking apart.

        A first thread that left while others go on shows as a zombie too; such a process is not dead.
        """
        return self.state in "ZXx" and self.threads <= 1


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process for good: pid and start time, on one boot of one kernel, in one pid namespace."""

    pid: int
    start_ticks: int
    boot_id: str
    pid_ns: str

    def to_dict(self) -> dict[str, Any]:
        """As a JSON object with exactly this class's field names."""
        return {
            "pid": self.pid,
            "start_ticks": self.start_ticks,
            "boot_id": self.boot_id,
            "pid_ns": self.pid_ns,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ProcessId:
        """Read what `to_dict` wrote; raises KeyError or ValueError for anything else."""
        return cls(int(data["pid"]), int(data["start_ticks"]), str(data["boot_id"]), str(data["pid_ns"]))


# --- who is who ---


def read(pid: int) -> Process | None:
    """The process with this pid as it is now, or None when there is none."""
    line = _read_file(f"/proc/{pid}/stat", 1024)
    if not line or b")" not in line:
        return None
    # The command name is in parentheses and may itself hold ") " and line breaks: the last one closes it.
    name_end = line.rindex(b")")
    state, ppid, pgid, session, *rest = line[name_end + 2 :].split(None, 20)
    threads, start_ticks = int(rest[13]), int(rest[15])
    return Process(pid, int(ppid), int(pgid), int(session), state.decode("ascii"), start_ticks, threads)


@cache
def boot_id() -> str:
    """The kernel's random id of this boot."""
    return _read_file("/proc/sys/kernel/random/boot_id", 64).decode("ascii").strip()


@cache
def pid_namespace() -> str:
    """This process's pid namespace, like "pid:[4026531836]"; pids of another one mean nothing here."""
    return str(Path("/proc/self/ns/pid").readlink())


def identity(pid: int) -> ProcessId:
    """The lasting name of a process. Raises ProcessLookupError when there is none with this pid."""
    process = read(pid)
    if process is None:
        raise ProcessLookupError(f"no process {pid}")
    return ProcessId(pid, process.start_ticks, boot_id(), pid_namespace())


def is_alive(one: ProcessId) -> bool:
    """True where this very process is seen here, no zombie. False is no evidence of death: see `is_dead`."""
    return _visible(one) and _same(read(one.pid), one)


def is_dead(one: ProcessId) -> bool:
    """True only on evidence: same boot, same pid namespace, and the process is a zombie or gone.

    Another boot id is no evidence: two machines may share a host name.
    """
    return _visible(one) and not _same(read(one.pid), one)


def _visible(one: ProcessId) -> bool:
    return one.boot_id == boot_id() and one.pid_ns == pid_namespace()


def _same(process: Process | None, one: ProcessId) -> bool:
    return process is not None and not process.dead and process.start_ticks == one.start_ticks


# --- who descends from whom ---


def snapshot() -> dict[int, Process]:
    """Every process of this pid namespace by pid, zombies included; about 8 µs each."""
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - called often, and pathlib costs more than the read
        if name.isdigit() and (process := read(int(name))) is not None:
            found[process.pid] = process
    return found


def children(pid: int, processes: Mapping[int, Process] | None = None) -> list[Process]:
    """The direct children of a process, zombies included."""
    return [one for one in (processes or snapshot()).values() if one.ppid == pid]


def is_child(pid: int | None, of: int) -> bool:
    """Whether the process `pid`, if there is one, was started by the process `of` and still is below it."""
    process = read(pid) if pid else None
    return process is not None and process.ppid == of


def own_children() -> set[int] | None:
    """Pids of this thread's direct children, zombies and adopted orphans included; None where the kernel does not say.

    Complete as long as only this thread waits for them: none leaves the kernel's list while it is being read.
    """
    try:
        return {int(pid) for pid in Path("/proc/thread-self/children").read_bytes().split()}
    except OSError:
        return None


def descendants(
    pid: int, processes: Mapping[int, Process] | None = None, exclude: Collection[int] = ()
) -> list[Process]:
    """All below a process, zombies included, parents before children. Nothing of or below `exclude`."""
    by_parent: dict[int, list[Process]] = {}
    for one in (snapshot() if processes is None else processes).values():
        if one.pid not in exclude:
            by_parent.setdefault(one.ppid, []).append(one)
    found, queue = [], [pid]
    while queue:
        below = by_parent.pop(queue.pop(), [])
        found.extend(below)
        queue.extend(one.pid for one in below)
    return found


def tree(pid: int) -> list[Process]:
    """A process and all below it, as far as they live."""
    processes = snapshot()
    found = [*([processes[pid]] if pid in processes else []), *descendants(pid, processes)]
    return [one for one in found if not one.dead]


def find_by_marker(name: str, value_prefix: str) -> list[int]:
    """Pids of living processes whose environment, as it was at their exec, has `name` with such a value.

    What a process did to its environment later does not show, and a forked child shows its parent's.
    """
    wanted = f"{name}={value_prefix}".encode()
    found = []
    for process in snapshot().values():
        environ = b"" if process.dead else _read_file(f"/proc/{process.pid}/environ", 1 << 20)
        if environ.startswith(wanted) or b"\0" + wanted in environ:
            found.append(process.pid)
    return found


# --- what a process says of itself ---


def become_subreaper() -> None:
    """Adopt every orphan below this process from now on. Kept over exec, not inherited by fork."""
    if _libc().prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def rename(name: str) -> str:
    """Call this thread so where processes are listed, in at most 15 bytes; returns what it was called."""
    before = ctypes.create_string_buffer(16)
    _libc().prctl(_PR_GET_NAME, before, 0, 0, 0)
    _libc().prctl(_PR_SET_NAME, name.encode("ascii"), 0, 0, 0)
    return before.value.decode("ascii", "replace")


def _read_file(path: str, size: int) -> bytes:
    """Up to `size` bytes of a file of /proc; b"" when the process is gone or is not ours to look into."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, size)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
