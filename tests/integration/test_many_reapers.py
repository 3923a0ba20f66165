"""Every supervisor has a reaper, and all see the same: what one has done, those that come later leave alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import redis
from rq import Queue, Retry
from rq.serializers import JSONSerializer

from proofq.policies import lifecycle
from proofq.policies.agent import AgentSpec
from proofq.policies.failure import Failure
from proofq.workers import keys
from proofq.workers.door import Door, Event
from proofq.workers.followers import Followers
from proofq.workers.owner import Owner
from proofq.workers.reaper import Reaper
from proofq.workers.scripts import Argument, RedisRunner, Runner
from proofq.workers.store import Store
from proofq.workers.strays import Strays
from tests.heart import AGENT, ISOLATION_MS, QUEUE, Heart, birth

AGENTS = {AGENT: AgentSpec(AGENT, "command", command=("true",), unproven=True)}


class Elsewhere:
    """A host that sees nobody's processes."""

    id = "another-host"

    def is_dead(self, row: Mapping[str, str]) -> bool:
        return False

    def kill_agents(self, row: Mapping[str, str]) -> None:
        raise AssertionError(row)


class Overtaken:
    """A runner whose `script` is answered late: what `meanwhile` does comes between its answer and what follows."""

    def __init__(self, runner: Runner, script: str, meanwhile: Callable[[], None]) -> None:
        self._runner, self._script = runner, script
        self._meanwhile = [meanwhile]

    def __call__(self, name: str, arguments: Sequence[Argument]) -> list[Any]:
        answer = self._runner(name, arguments)
        if name == self._script and self._meanwhile:
            self._meanwhile.pop()()
        return answer


@pytest.fixture
def heart(redis_client: redis.Redis) -> Heart:
    """A store of its own, with somebody who leases."""
    made = Heart(redis_client)
    made.enlist("o")
    return made


def _reaper(heart: Heart, name: str, meanwhile: Callable[[], None] | None = None) -> Reaper:
    runner: Runner = RedisRunner(heart.client)
    store = Store(heart.client, Overtaken(runner, "watch", meanwhile) if meanwhile else runner, heart.clock)
    owner = Owner(store, name, ISOLATION_MS / 1000, lambda: None, lambda *_: None)
    store.enlist(name, Elsewhere.id, ISOLATION_MS, {"id": name})
    return Reaper(store, Door(store, heart.door.limits), owner, Elsewhere(), name, AGENTS, lambda _: None)


def _now_ms(heart: Heart) -> int:
    return int(heart.client.time()[0]) * 1000


def test_a_task_that_is_due_is_promoted_once(heart: Heart) -> None:
    """Two see it; the second writes nothing, not even that it was refused."""
    heart.store.enqueue(birth("t", later_ms=_now_ms(heart) - 5))
    second = _reaper(heart, "second")
    first = _reaper(heart, "first", lambda: _must(second.run_once().promoted == 1))
    assert first.run_once().promoted == 0
    assert heart.events() == ["enqueue_later", "due"]


def test_who_waits_anew_is_not_promoted_by_what_was_seen_before(heart: Heart) -> None:
    """Between the look and the act it ran and was told to wait for a minute: that minute is kept."""
    heart.store.enqueue(birth("t", later_ms=_now_ms(heart) - 5))
    second = _reaper(heart, "second")

    def runs_and_waits_again() -> None:
        second.run_once()
        failure = Failure("rate_limited", "429", retry_after_s=60.0)
        heart.settled(heart.running(), Event("failed", "worker", failure=failure))

    assert _reaper(heart, "first", runs_and_waits_again).run_once().promoted == 0
    task = heart.store.read("t")
    assert task.state == lifecycle.DEFERRED
    assert (task.not_before or 0) >= _now_ms(heart) + 55_000


def test_a_task_that_is_too_old_expires_once(heart: Heart) -> None:
    """Two see it; and one that was replayed meanwhile has its new age."""
    for name in ("t", "u"):
        heart.store.enqueue(birth(name))
        heart.client.hset(keys.task(name), "expires_at", _now_ms(heart) - 5000)
        heart.client.zadd(keys.AGES, {name: _now_ms(heart) - 5000})
    second = _reaper(heart, "second")

    def expires_both_and_one_is_replayed() -> None:
        assert second.run_once().expired == 2
        assert heart.door.apply("u", Event("replay", "test")).ok

    assert _reaper(heart, "first", expires_both_and_one_is_replayed).run_once().expired == 0
    assert heart.events() == ["enqueue", "expire"]
    assert heart.store.read("u").state == lifecycle.QUEUED
    assert heart.events("u") == ["enqueue", "expire", "replay"]


def test_followers_expire_once(heart: Heart) -> None:
    """Two tell the followers of a task that was cancelled."""
    heart.store.enqueue(birth("t"))
    heart.store.enqueue(birth("u", after=["t"]))
    assert heart.door.apply("t", Event("cancel", "test")).ok
    second = Followers(heart.store, heart.door, "second")
    door = _OvertakenDoor(heart, lambda: second.tell(["t"]))
    Followers(heart.store, door, "first").tell(["t"])
    assert heart.events("u") == ["enqueue_after", "expire"]


@pytest.mark.parametrize(("state", "said"), [("verified", "refused:lease"), ("failed", "replay")])
def test_what_was_put_back_from_outside_is_judged_once(heart: Heart, state: str, said: str) -> None:
    """Two reapers look after one stray: one breadcrumb says who tried, and a failed task is replayed once."""
    heart.store.enqueue(birth("t"))
    if state == "verified":
        heart.settled(heart.claimed(), Event("verify", "worker", verdict={"outcome": "verified", "proofs": []}))
    else:
        heart.settled(heart.running(), Event("failed", "worker", failure=Failure("timeout", "late")))
    heart.client.lpush(keys.rq_queue(QUEUE), "t")
    assert heart.lease() is None, "taken out of the queue"
    second = Strays(heart.store, heart.door, AGENTS)
    door = _OvertakenDoor(heart, lambda: second.settle(["t"]))
    Strays(heart.store, door, AGENTS).settle(["t"])
    assert Counter(heart.events())[said] == 1
    assert [event for event in heart.events() if lifecycle.is_refused(event)] == ([said] if state == "verified" else [])
    assert heart.client.hlen(keys.STRAYS) == 0


def test_a_job_that_was_refused_is_not_replayed_by_who_saw_it_too(heart: Heart) -> None:
    """A job of plain RQ's with wishes that nobody meets: it fails, and stays so whatever number of reapers was told."""
    job = Queue(QUEUE, connection=heart.client, serializer=JSONSerializer).enqueue("proofq.run", {}, retry=Retry(max=2))
    assert heart.lease() is None
    told = heart.store.watch(Elsewhere.id).strays
    assert told == [job.id]
    for _ in range(3):
        Strays(heart.store, heart.door, AGENTS).settle(told)
    assert heart.events(job.id) == ["adopt_bad"]
    assert heart.store.read(job.id).state == lifecycle.FAILED


class _OvertakenDoor(Door):
    """A door whose first event is overtaken by what `meanwhile` does."""

    def __init__(self, heart: Heart, meanwhile: Callable[[], Any]) -> None:
        super().__init__(heart.store, heart.door.limits)
        self._meanwhile = [meanwhile]

    def apply(self, *arguments: Any, **named: Any) -> Any:
        self._overtake()
        return super().apply(*arguments, **named)

    def refuse(self, *arguments: Any, **named: Any) -> Any:
        self._overtake()
        return super().refuse(*arguments, **named)

    def _overtake(self) -> None:
        if self._meanwhile:
            self._meanwhile.pop()()


def _must(held: bool) -> None:
    assert held
