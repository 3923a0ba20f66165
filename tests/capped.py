"""A heart with several agents and owners whose leases must meet caps, and what is true of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import redis

from proofq.workers import keys
from proofq.workers.clock import SystemClock
from proofq.workers.door import Event
from proofq.workers.record import Lease
from proofq.workers.store import Birth, Store
from tests.heart import CLAIM, START, VERDICT, Heart, birth

#: Where the test's clock begins, in ms.
BEGIN_MS: Final = 1_800_000_000_000


class ByHand(SystemClock):
    """The scripts' time stands still until it is moved; request ids are told apart all the same."""

    now_ms = BEGIN_MS

    def script_now(self) -> str:
        return str(self.now_ms)


def task_of(agent: str, name: str) -> Birth:
    """A task of any agent."""
    queue = keys.queue_of("work", agent)
    plain = birth(name)
    return replace(plain, queue=queue, fields={**plain.fields, "agent": agent})


class Capped(Heart):
    """`wishes`: agent -> what a worker asks for after its queue."""

    def __init__(self, client: redis.Redis, wishes: Mapping[str, str], owners: Sequence[str] = ("o",)) -> None:
        super().__init__(client)
        self.hand = ByHand()
        self.clock = self.hand
        self.store = Store(client, self.runner, self.hand)
        self.door = type(self.door)(self.store, self.door.limits)
        self.queues = [f"{keys.queue_of('work', agent)} {said}".strip() for agent, said in wishes.items()]
        self.owners = list(owners)
        self.enlist(*owners)
        self._born = 0

    def born(self, agent: str, count: int = 1) -> None:
        for _ in range(count):
            self._born += 1
            self.store.enqueue(task_of(agent, f"{agent}{self._born}"))

    def next(self, owner: str = "o", request: str = "") -> Lease | None:
        """The next task of any queue."""
        return self.lease(owner, request=request, queues=self.queues)

    def leased(self) -> list[str]:
        """The agent of each task that any owner holds, as the leases themselves say."""
        ids = [name for owner in self.owners for name in self.store.leases_of(owner)]
        return [task.agent for task in self.store.read_many(ids)]

    def waiting(self, agent: str) -> int:
        return int(self.client.llen(keys.rq_queue(keys.queue_of("work", agent))))

    def indexed(self, cap: str) -> set[str]:
        """The tasks that a cap's index counts."""
        return {name.decode() for name in self.client.zrangebyscore(keys.running(cap), 1, "+inf")}


def ended(heart: Capped, lease: Lease) -> None:
    """One attempt from its lease to its verdict."""
    for event in (START, CLAIM, Event("verify", "worker", verdict=VERDICT)):
        settled = heart.settled(lease, event).lease
        if settled is not None:
            lease = settled
