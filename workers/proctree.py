"""Processes as /proc shows them: who is who, who descends from whom, and how a whole tree is made to end.

A zombie counts as dead everywhere. A pid alone names nothing, since pids are used again: what is remembered
of a process is a `ProcessId`. Killing freezes before it kills, so that a tree which forks faster than /proc
can be read still comes to an end.
"""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from proofq.workers.clock import Clock, SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

_PR_SET_NAME, _PR_GET_NAME, _PR_SET_CHILD_SUBREAPER = 15, 16, 36
#: First and longest pause between looks at what was killed, seconds: most deaths are seen within 0.3 ms.
_LOOK_S, _LOOK_MAX_S = 0.0003, 0.02
#: Everything of a tree is gone this many seconds after the grace ended, or `kill_tree` says what is left.
KILL_WITHIN_S = 3.0
#: The same where others are about to be told that all are dead, and start the tasks anew for that.
GONE_WITHIN_S = 60.0


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


# --- making it end ---


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


def send(pid: int, signum: int) -> None:
    """Send a signal; a process that is gone, or is not ours to signal, is no error."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signum)


def terminate(processes: Iterable[Process]) -> None:
    """TERM, and CONT so that a stopped process can act on it."""
    for one in processes:
        send(one.pid, signal.SIGTERM)
        send(one.pid, signal.SIGCONT)


def freeze_and_kill(targets: Callable[[], Iterable[Process]], spare: Collection[int] = ()) -> None:
    """SIGKILL all that `targets` finds, once a look finds none that has not been stopped.

    Does not wait for the deaths. Process groups are killed as a whole, which also gets a process whose parent
    has just left it behind; not those of our own session, nor one with a process of or below `spare`.
    """
    frozen: dict[int, Process] = {}
    for _ in range(100):
        new = [one for one in targets() if not one.dead and not _known(frozen, one)]
        if not new:
            break
        for one in new:
            frozen[one.pid] = one
            send(one.pid, signal.SIGSTOP)
    for pgid in {one.pgid for one in frozen.values() if one.session != os.getsid(0)} - _groups(spare):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pgid, signal.SIGKILL)
    for pid in frozen:
        send(pid, signal.SIGKILL)


def kill_tree(
    roots: Iterable[int],
    *,
    exclude: Collection[int] = (),
    grace_s: float = 1.0,
    within_s: float = KILL_WITHIN_S,
    clock: Clock | None = None,
) -> list[int]:
    """End `roots` and all below them; returns the pids still alive, [] when it is done.

    TERM to all, up to `grace_s` seconds to leave by themselves, then freeze and kill again and again for up
    to `within_s` seconds. Nothing of or below `exclude` is touched.
    """
    clock = clock or SystemClock()
    seen: dict[int, int] = {pid: process.start_ticks for pid in roots if (process := read(pid)) is not None}

    def alive() -> list[Process]:
        found = _trees(seen, exclude)
        # Remembered, because what loses its parent meanwhile is below none of the roots any more.
        seen.update((one.pid, one.start_ticks) for one in found)
        return found

    if grace_s > 0:
        terminate(alive())
        if _wait_none(alive, grace_s, clock):
            return []
    return kill_all(alive, spare=exclude, within_s=within_s, clock=clock)


def kill_descendants(
    *, exclude: Collection[int] = (), within_s: float = KILL_WITHIN_S, clock: Clock | None = None
) -> list[int]:
    """Kill everything below this process at once; returns the pids still alive. Reaps nothing."""

    def alive() -> list[Process]:
        return [one for one in descendants(os.getpid(), exclude=exclude) if not one.dead]

    return kill_all(alive, spare=exclude, within_s=within_s, clock=clock)


def kill_owner_tree(
    name: str,
    value_prefix: str,
    forkserver: ProcessId | None,
    *,
    spare: Collection[int] = (),
    within_s: float = KILL_WITHIN_S,
    clock: Clock | None = None,
) -> list[int]:
    """Kill what a dead or silent owner left on this host; returns the pids still alive.

    That is all below `forkserver`, itself and stopped processes included, and every process, with all below
    it, that carries the marker; looked for until nothing is found. `spare` are guards that stay: what is
    below them goes.
    """
    kept = {*spare, os.getpid()}

    def alive() -> list[Process]:
        processes = snapshot()
        roots = set(find_by_marker(name, value_prefix))
        if forkserver is not None and is_alive(forkserver):
            roots.add(forkserver.pid)
        found = {pid: processes[pid] for pid in roots if pid in processes}
        for pid in roots:
            found.update((one.pid, one) for one in descendants(pid, processes, exclude={os.getpid()}))
        return [one for pid, one in found.items() if pid not in kept and not one.dead]

    clock = clock or SystemClock()
    left = kill_all(alive, spare=kept, within_s=within_s, clock=clock)
    # A process in the middle of its exec shows no environment for a moment: look again after that moment.
    clock.sleep(_LOOK_MAX_S)
    return left or kill_all(alive, spare=kept, within_s=within_s, clock=clock)


def kill_all(
    alive: Callable[[], list[Process]],
    *,
    spare: Collection[int] = (),
    within_s: float = KILL_WITHIN_S,
    clock: Clock | None = None,
) -> list[int]:
    """Freeze and kill what `alive` finds until it finds nothing, for `within_s` seconds; returns the rest."""
    clock = clock or SystemClock()
    end = clock.boottime() + within_s
    while alive():
        left = end - clock.boottime()
        if left <= 0:
            return [one.pid for one in alive()]
        freeze_and_kill(alive, spare)
        _wait_none(alive, min(left, 0.1), clock)
    return []


def _trees(roots: Mapping[int, int], exclude: Collection[int]) -> list[Process]:
    """The living of `roots` (start ticks by pid) and of all below them."""
    processes = snapshot()
    found: dict[int, Process] = {}
    for pid, start_ticks in roots.items():
        root = processes.get(pid)
        if root is not None and root.start_ticks == start_ticks and pid not in exclude and pid not in found:
            found[pid] = root
            found.update((one.pid, one) for one in descendants(pid, processes, exclude))
    return [one for one in found.values() if not one.dead]


def _groups(pids: Collection[int]) -> set[int]:
    """The process groups of `pids` and of all below them."""
    if not pids:
        return set()
    processes = snapshot()
    found = {processes[pid].pgid for pid in pids if pid in processes}
    return found | {one.pgid for pid in pids for one in descendants(pid, processes)}


def _wait_none(alive: Callable[[], list[Process]], within_s: float, clock: Clock) -> bool:
    end, pause = clock.boottime() + within_s, _LOOK_S
    while alive():
        if clock.boottime() >= end:
            return False
        clock.sleep(pause)
        pause = min(pause * 2, _LOOK_MAX_S)
    return True


def _known(frozen: Mapping[int, Process], one: Process) -> bool:
    """Stopping changes the state and adoption the parent: the same process all the same."""
    return one.pid in frozen and frozen[one.pid].start_ticks == one.start_ticks


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
