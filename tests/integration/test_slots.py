"""The slots of a supervisor: when they ask for a task, and when not, though one waits and Redis would give it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from proofq.policies.agent import AgentSpec
from proofq.policies.failure import Failure
from proofq.policies.settlement import Limits
from proofq.workers.attempt import AttemptFailed, Attempts
from proofq.workers.clock import SystemClock
from proofq.workers.owner import Owner
from proofq.workers.shares import Share
from proofq.workers.slots import Slots
from proofq.workers.store import Store
from proofq.workers.suspects import Suspects
from proofq.workers.turns import Place, Turns
from tests.heart import AGENT, ISOLATION_MS, QUEUE, Heart, birth
from tests.waiting import until


class ByHand(SystemClock):
    """A boot clock that stands still until it is moved."""

    now_s = 1000.0

    def boottime(self) -> float:
        return self.now_s


class NoHands:
    """Every attempt fails before anything would start."""

    def prepare(self, *_: object) -> Any:
        raise AttemptFailed(Failure("bad_input", "for the test"))

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


class Lane:
    """One slot of an owner whose beat, and whether it can start anything, are the test's."""

    def __init__(self, heart: Heart) -> None:
        self.heart, self.clock, self.usable = heart, ByHand(), True
        store = Store(heart.client, heart.runner, self.clock)
        self.owner = Owner(store, "o", ISOLATION_MS / 1000, lambda: None, lambda *_: None)
        spec, hands = AgentSpec(AGENT, "command", command=("true",), unproven=True), NoHands()
        attempts = Attempts(
            heart.door, self.owner, hands, hands, {AGENT: spec}, Limits(), "worker", self.clock, lambda: False,
            Suspects(self.clock),
        )  # fmt: skip
        turns = Turns([Place(QUEUE)])
        self.slots = Slots(Share(0, 1), turns, store, self.owner, attempts, "worker", lambda: self.usable)

    def looks_in_vain(self) -> bool:
        """Whether a look that was rung for found nothing to do, while a task waits."""
        for _ in range(2):
            self.slots.idle.clear()
            self.slots.ring()
            until(self.slots.idle.is_set, 10, "a look")
        return self.heart.events() == ["enqueue"]

    def ends_it(self) -> bool:
        """Whether the task is taken and ended."""
        self.slots.ring()
        return until(lambda: self.heart.store.read("t").state == "failed", 10, "its end")


@pytest.fixture
def lane(redis_client: redis.Redis) -> Iterator[Lane]:
    """It looks once a tick and when rung; one task waits, though not for it yet."""
    heart = Heart(redis_client)
    heart.enlist("o")
    made = Lane(heart)
    yield made
    made.slots.stop()


def test_who_has_stepped_back_asks_for_nothing(lane: Lane) -> None:
    """Ten seconds before its leases may be taken it takes none, though Redis still would give it one; heard again, it
    goes on."""
    lane.clock.now_s += ISOLATION_MS / 1000 - 9
    lane.heart.store.enqueue(birth("t"))
    lane.slots.start()
    assert lane.looks_in_vain()
    lane.owner.beat()
    assert lane.ends_it()


def test_who_can_start_nothing_asks_for_nothing(lane: Lane) -> None:
    """A full disk, a guard that is gone."""
    lane.usable = False
    lane.heart.store.enqueue(birth("t"))
    lane.slots.start()
    assert lane.looks_in_vain()
    lane.usable = True
    assert lane.ends_it()
