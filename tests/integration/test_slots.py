"""The slots of a supervisor: when they ask for a task, and when not, though one waits and Redis would give it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
import redis

from proofq.policies.agent import AgentSpec
from proofq.policies.failure import Failure
from proofq.policies.settlement import Limits
from proofq.workers.attempt import AttemptFailed, Attempts
from proofq.workers.clock import SystemClock
from proofq.workers.life import Wait
from proofq.workers.once import Once
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


class Ends:
    """Runs until the test ends it."""

    def __init__(self) -> None:
        self.over, self.asked = Once(), threading.Event()

    def wait_ended(self, timeout_s: float | None) -> bool:
        has_ended = self.over.wait(timeout_s)
        self.asked.set()
        return has_ended

    def when_ended(self, call: Callable[[], None]) -> None:
        self.over.when(call)
        self.asked.set()


class TwoOfOne:
    """Lives of attempts that wait for one process, and without its end for another one."""

    def __init__(self) -> None:
        self.first, self.second, self.gone = Ends(), Ends(), threading.Event()

    def life(self, *_: object) -> Generator[Any, bool, None]:
        yield Wait(self.first, 0.0)  # type: ignore[arg-type]
        assert (yield Wait(self.second, None))  # type: ignore[arg-type]
        self.gone.set()


def test_an_attempt_hears_of_whom_it_waits_for_now(redis_client: redis.Redis) -> None:
    """Its process was replaced before it had begun: it is the other one's end that ends the wait."""
    heart, lives = Heart(redis_client), TwoOfOne()
    heart.enlist("o")
    heart.store.enqueue(birth("t"))
    owner = Owner(heart.store, "o", ISOLATION_MS / 1000, lambda: None, lambda *_: None)
    slots = Slots(Share(0, 1), Turns([Place(QUEUE)]), heart.store, owner, lives, "worker", lambda: True)  # type: ignore[arg-type]
    slots.start()
    assert lives.second.asked.wait(10)
    lives.second.over.set()
    assert lives.gone.wait(10)
    slots.stop()
