"""A spawner with a real forkserver for tests, and requests for it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proofq.workers import proctree
from proofq.workers.forkserver import Config
from proofq.workers.guard import OwnerMarker
from proofq.workers.preload import Preload
from proofq.workers.spawner import Spawner, SpawnRequest

if TYPE_CHECKING:
    from proofq.workers.running import Running

ROOT = Path(__file__).parent.parent
#: Children that a forkserver of tests keeps forked ahead: its first functions are forked, later ones are not.
STANDBY = 2
ENV = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}


def config(owner: str = "owner-a", *, bury_to: Path | None = None, **argument: Any) -> Config:
    """What a forkserver of tests is told; `argument` goes to tests.process_agents.preload."""
    return Config(
        OwnerMarker(owner, proctree.identity(os.getpid())).text,
        Preload("tests.process_agents:preload", argument, (str(ROOT),)),
        "tests.burial" if bury_to else None,
        {"path": str(bury_to), "owner": owner} if bury_to else {},
        standby=STANDBY,
    )


class Bench:
    """A spawner and what it says of its guard."""

    def __init__(self, settings: Config, **options: Any) -> None:
        self.lost: list[str] = []
        self.lost_event = threading.Event()
        # A supervisor is alone in its process; a test is not.
        before = [one.pid for one in proctree.children(os.getpid())]
        options.setdefault("spare", lambda: before)
        self.spawner = Spawner(settings, self._on_lost, **options)
        self.spawner.start()

    def _on_lost(self, why: str) -> None:
        self.lost.append(why)
        self.lost_event.set()

    def function(self, agent: str, tmp: Path | str = "/tmp", **inputs: Any) -> Running:
        """Start a function agent of tests.process_agents."""
        return self.spawner.spawn(function(agent, tmp, **inputs))

    def command(self, *argv: str, **options: Any) -> Running:
        """Start a command."""
        return self.spawner.spawn(
            SpawnRequest("command", options.pop("env", ENV), options.pop("cwd", "/"), argv, **options)
        )


def function(agent: str, tmp: Path | str = "/tmp", **inputs: Any) -> SpawnRequest:
    """A request for a function agent of tests.process_agents."""
    payload = {
        "agent": agent,
        "inputs": inputs,
        "task_id": "t-1",
        "attempt": 1,
        "workdir": str(tmp),
        "taskdir": str(tmp),
        "repair": None,
    }
    return SpawnRequest("function", ENV, str(tmp), payload=payload)


def alive(pids: list[int]) -> list[int]:
    """Those of `pids` that live; a zombie does not."""
    return [pid for pid in pids if (one := proctree.read(pid)) is not None and not one.dead]


def printed_pids(running: Running) -> list[int]:
    """The pids a process has printed so far, one a line."""
    return [int(line) for line in running.stdout_tail().splitlines() if line.isdigit()]
