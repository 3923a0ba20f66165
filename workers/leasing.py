"""What a slot with room asks Redis for, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from proofq.policies import lifecycle
from proofq.policies.fast_dataclass import fast_dataclass
from proofq.policies.gate import Admission
from proofq.workers import rq_view
from proofq.workers.clock import Clock
from proofq.workers.record import Lease, Task
from proofq.workers.scripts import Argument


class UnreadableRow(Exception):
    """A lease was granted of a task whose row nobody can read, which must be set aside."""

    def __init__(self, task_id: str, problem: str) -> None:
        super().__init__(problem)
        self.task_id = task_id


class StaleOwner(Exception):
    """An owner that is buried, forgotten or late with its beat asked for a lease."""


@fast_dataclass(frozen=True)
class Wish:
    """The next task of that one of `queues` whose turn it is, for a slot of `owner`; `who` and `host` are its worker's.

    Sent again under the same `request` it is given the same task. After a queue stand the gate that its tasks pass, its
    weight and what an attempt takes, and the caps that they meet, as leasing.lua reads them. `later` is told in how
    many seconds a gate or a rate lets somebody through, where nothing else is there.
    """

    owner: str
    slot: str
    request: str
    queues: Sequence[str]
    who: str
    host: str
    later: Callable[[float], None] = lambda _: None

    def arguments(self, clock: Clock) -> list[Argument]:
        """As leasing.lua takes them."""
        stamp = rq_view.stamp(clock.wall())
        return [
            self.owner, self.slot, self.request, clock.token(), stamp, self.who, self.host, str(clock.stamp_ns()),
            lifecycle.QUEUED, lifecycle.TABLE[lifecycle.QUEUED, "lease"], "\n".join(self.queues),
        ]  # fmt: skip

    def granted(self, answer: list[Any]) -> Lease | None:
        """What leasing.lua gave; None when all queues are empty, or while workers are suspended. Raises StaleOwner and
        UnreadableRow."""
        word = answer[0].decode()
        if word == "granted":
            task_id = answer[1].decode()
            try:
                task = Task.parse(task_id, answer[4])
            except ValueError as problem:
                raise UnreadableRow(task_id, str(problem)) from problem
            return Lease(task, answer[2].decode(), self.owner, self.slot, _admission(answer[5:]))
        if word == "empty" and len(answer) > 2:
            self.later(max(0.0, (float(answer[2]) - float(answer[1])) / 1000))
        if word not in {"empty", "suspended"}:
            raise StaleOwner(word)
        return None


def _admission(said: list[Any]) -> Admission | None:
    if not said:
        return None
    name, epoch, probe, watched = said
    return Admission(name.decode(), int(epoch), bool(probe), bool(watched))


def no_wish() -> Wish | None:
    """Of who wants no further task."""
    return None
