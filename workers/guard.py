"""How two processes guard each other: a pulse, and a marker that outlives both."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from proofq.workers import killing, proctree
from proofq.workers.proctree import ProcessId

#: Seconds between two pulses, and how many in a row may be missed before the other side counts as hung.
PULSE_S, PULSES_MISSED = 1.0, 5

#: The environment variable that every process of a lane carries, from the forkserver down.
OWNER_VARIABLE = "PROOFQ_OWNER"


class Watchdog:
    """Says when the other side has been silent for too long.

    Counts its own ticks, not time: a process that was stopped, or a host that slept, has ticked only once when it
    goes on, and does not blame the other side for its own absence.
    """

    def __init__(self, allowed: int = PULSES_MISSED) -> None:
        self._allowed = allowed
        self._missed = 0

    def heard(self) -> None:
        """The other side gave a sign of life."""
        self._missed = 0

    def tick(self) -> bool:
        """One pulse period of our own has passed; True when the other side has missed too many."""
        self._missed += 1
        return self._missed > self._allowed


@dataclass(frozen=True, slots=True)
class OwnerMarker:
    """What is left of an owner in its processes' environment: who it was, and which supervisor it ran in."""

    owner_id: str
    supervisor: ProcessId

    @property
    def text(self) -> str:
        """owner id:boot id:supervisor's pid:its start time in clock ticks."""
        return f"{self.owner_id}:{self.supervisor.boot_id}:{self.supervisor.pid}:{self.supervisor.start_ticks}"


def sweep(
    owner_id: str, forkserver: ProcessId | None = None, *, spare: tuple[int, ...] = (), within_s: float = 3.0
) -> list[int]:
    """Kill on this host what an owner that is dead or out of its lease has left; returns the pids still alive.

    `forkserver`, where it is known, also leads to those that got rid of their environment. `spare` are guards of
    the owner that stay.
    """
    return killing.kill_owner_tree(OWNER_VARIABLE, f"{owner_id}:", forkserver, spare=spare, within_s=within_s)


def sweep_abandoned(*, within_s: float = 3.0) -> list[int]:
    """Kill on this host whatever carries the marker of a supervisor that is dead; returns the pids still alive.

    Also where no row in the store names the owner: its guards were killed before it came to enlist, say.
    """
    markers = [_marker_of(pid) for pid in proctree.find_by_marker(OWNER_VARIABLE, "")]
    dead = {one.owner_id for one in markers if one is not None and proctree.is_dead(one.supervisor)}
    return [pid for owner in sorted(dead) for pid in sweep(owner, within_s=within_s)]


def _marker_of(pid: int) -> OwnerMarker | None:
    """Read a process's marker; None where it has none, is gone, or its pids mean nothing here."""
    prefix = f"{OWNER_VARIABLE}=".encode()
    with suppress(OSError, ValueError, StopIteration):
        # The marker's pid is of the namespace in which its owner lives, as its processes do.
        pid_ns = str(Path(f"/proc/{pid}/ns/pid").readlink())
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        text = next(one for one in variables if one.startswith(prefix))[len(prefix) :].decode("ascii")
        owner_id, boot_id, supervisor, start_ticks = text.split(":")
        return OwnerMarker(owner_id, ProcessId(int(supervisor), int(start_ticks), boot_id, pid_ns))
    return None
