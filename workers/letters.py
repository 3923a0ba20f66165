"""Dead letters: tasks that wait for a human or ended without success, counted by what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from proofq.workers import replaying
from proofq.workers.clock import iso
from proofq.workers.record import Task
from proofq.workers.replaying import Wanted
from proofq.workers.session import Session


@dataclass
class Letters:
    """Tasks of one agent with failures of one class and fingerprint. Times are epoch milliseconds of enqueueing."""

    kind: str
    fingerprint: str
    agent: str
    states: dict[str, int] = field(default_factory=dict)
    oldest: int | None = None
    newest: int | None = None
    sample: str = ""

    @property
    def count(self) -> int:
        return sum(self.states.values())

    @property
    def replay(self) -> list[str]:
        """The command that would run them anew; a dry run first."""
        words = ["proofq", "replay", "--agent", self.agent]
        words += ["--class", self.kind] if self.kind else []
        words += ["--fingerprint", self.fingerprint] if self.fingerprint else []
        return [*words, "--dry-run"]

    def add(self, task: Task) -> None:
        self.states[task.state] = self.states.get(task.state, 0) + 1
        self.oldest = min(self.oldest or task.enqueued_at, task.enqueued_at)
        self.newest = max(self.newest or task.enqueued_at, task.enqueued_at)
        self.sample = self.sample or task.id

    def to_dict(self) -> dict[str, Any]:
        """An item of `proofq incident dead`."""
        return {
            "class": self.kind or None,
            "fingerprint": self.fingerprint,
            "agent": self.agent,
            "count": self.count,
            "states": dict(sorted(self.states.items())),
            "oldest_at": iso(self.oldest),
            "newest_at": iso(self.newest),
            "sample": self.sample,
            "replay": self.replay,
        }


def every(opened: Session, wanted: Wanted) -> list[Letters]:
    """What is there now and fits, the most frequent first; every such task is read.

    Raises RedisUnavailable and DamagedKey.
    """
    return _grouped(one.task for one in replaying.matching(opened, wanted) if one.task is not None)


def _grouped(tasks: Iterable[Task]) -> list[Letters]:
    found: dict[tuple[str, str, str], Letters] = {}
    for task in tasks:
        failed = task.failure
        key = (failed.kind if failed else "", failed.fingerprint if failed else "", task.agent)
        found.setdefault(key, Letters(*key)).add(task)
    return sorted(found.values(), key=lambda one: (-one.count, one.kind, one.agent))
