"""What a worker may see and do on its own host: who is dead there, and what the dead left running."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping
from functools import cache
from typing import Any

from proofq.workers import killing, proctree
from proofq.workers.proctree import ProcessId

#: Environment variable of every process below a forkserver; its value begins with the owner's id.
MARKER = "PROOFQ_OWNER"


class StillAlive(Exception):
    """Processes would not die (a sleep in the kernel, say): what they hold is left alone for now."""


@cache
def host_name() -> str:
    """As the kernel said when this process first asked: were it to change, we would be strangers to our own."""
    return socket.gethostname()


def host_id() -> str:
    """The same for two processes only if a pid means the same to both: host name, boot and pid namespace."""
    text = "\n".join((host_name(), proctree.boot_id(), proctree.pid_namespace()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def process_fields(role: str, one: ProcessId) -> dict[str, Any]:
    """A process of an owner, as fields of the owner's row."""
    return {f"{role}_pid": one.pid, f"{role}_ticks": one.start_ticks, "boot_id": one.boot_id, "pid_ns": one.pid_ns}


def _process(row: Mapping[str, str], role: str) -> ProcessId | None:
    try:
        return ProcessId(int(row[f"{role}_pid"]), int(row[f"{role}_ticks"]), row["boot_id"], row["pid_ns"])
    except (KeyError, ValueError):
        return None


class LocalHost:
    """This host, as the reaper's `Host`."""

    def __init__(self) -> None:
        self.id = host_id()

    def is_dead(self, row: Mapping[str, str]) -> bool:
        """Whether the owner's supervisor is gone; a row that does not say who it is proves nothing."""
        supervisor = _process(row, "supervisor")
        return supervisor is not None and proctree.is_dead(supervisor)

    def kill_agents(self, row: Mapping[str, str]) -> None:
        """Kills what the owner's agents left here. The guards of an owner that may come back stay: they step back by
        themselves; those of a dead one go too."""
        guards = [_process(row, role) for role in ("launcher", "supervisor", "forkserver")]
        spare = [] if self.is_dead(row) else [one.pid for one in guards if one is not None]
        left = killing.kill_owner_tree(MARKER, row["id"], _process(row, "forkserver"), spare=spare)
        if left:
            raise StillAlive(f"processes of owner {row['id']} would not die: {left}")

    def kill_attempt(self, pid: int, start_ticks: int) -> None:
        """Kills the tree of an earlier attempt's first process, if it still lives here. Raises StillAlive."""
        one = ProcessId(pid, start_ticks, proctree.boot_id(), proctree.pid_namespace())
        left = killing.kill_tree([pid], grace_s=0.0) if proctree.is_alive(one) else []
        if left:
            raise StillAlive(f"processes of an earlier attempt would not die: {left}")
