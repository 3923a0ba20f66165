"""How a whole tree of processes is made to end.

Killing freezes before it kills, so that a tree which forks faster than /proc can be read still comes to an end.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from proofq.workers.clock import Clock, SystemClock
from proofq.workers.proctree import Process, ProcessId, descendants, find_by_marker, is_alive, read, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

#: First and longest pause between looks at what was killed, seconds: most deaths are seen within 0.3 ms.
_LOOK_S, _LOOK_MAX_S = 0.0003, 0.02
#: Everything of a tree is gone this many seconds after the grace ended, or `kill_tree` says what is left.
KILL_WITHIN_S = 3.0
#: The same where others are about to be told that all are dead, and start the tasks anew for that.
GONE_WITHIN_S = 60.0


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
