"""A paused agent: none of its tasks is leased, everything else goes on, and it costs next to nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import redis

from proofq.policies import lifecycle
from proofq.workers import keys, pausing
from proofq.workers.audit import Audit
from proofq.workers.door import Event
from proofq.workers.record import Lease
from proofq.workers.store import Birth
from tests.heart import AGENT, START, Heart, birth

OTHER = keys.queue_of("work", "other")


def _birth(name: str, queue: str) -> Birth:
    """A task of the agent of another queue."""
    lane, _, agent = queue.partition(".")
    made = birth(name)
    job = {**made.job, "origin": queue}
    return replace(made, queue=queue, job=job, fields={**made.fields, "agent": agent, "lane": lane})


def _lease_any(heart: Heart, request: str = "") -> Lease | None:
    queues = [keys.queue_of("work", AGENT), OTHER]
    return heart.lease(request=request, queues=queues)


@pytest.fixture
def heart(redis_client: redis.Redis) -> Heart:
    """An owner, and a task of each of two agents."""
    found = Heart(redis_client)
    found.enlist("o")
    found.store.enqueue(birth("t"))
    found.store.enqueue(_birth("other", OTHER))
    return found


def test_only_the_paused_agent_waits(heart: Heart) -> None:
    """Its queue is passed over though it is asked for first; its tasks stay queued until it is resumed."""
    assert pausing.pause(heart.store, AGENT, "somebody")
    lease = _lease_any(heart)
    assert lease is not None
    assert lease.task.id == "other"
    assert _lease_any(heart) is None
    assert heart.store.read("t").state == lifecycle.QUEUED
    assert heart.events() == ["enqueue"]
    assert pausing.resume(heart.store, AGENT)
    leased = _lease_any(heart)
    assert leased is not None
    assert leased.task.id == "t"
    assert heart.client.exists(keys.PAUSED) == 0
    assert Audit(heart.store).run().violations == []


def test_a_paused_agent_is_paused_in_both_lanes(redis_client: redis.Redis) -> None:
    """Whatever lane its declaration has, or had when the task came."""
    heart = Heart(redis_client)
    heart.enlist("o")
    queue = keys.queue_of("meta", AGENT)
    heart.store.enqueue(_birth("t", queue))
    pausing.pause(heart.store, AGENT, "somebody")
    assert heart.lease(queues=[queue]) is None


def test_what_runs_goes_on(heart: Heart) -> None:
    """Beat, start, claim and a retry's queueing of a paused agent are as ever; only the next lease is not had."""
    lease = heart.held()
    pausing.pause(heart.store, AGENT, "somebody")
    started = heart.settled(lease, START).lease
    assert started is not None
    beat = heart.store.beat("o", 60_000)
    assert beat is not None
    assert "t" in beat.held
    heart.settled(started, Event("give_back", "worker", "drains"))
    assert heart.lease() is None
    assert heart.door.apply("t", Event("cancel", "test", "not needed")).ok


def test_a_lease_sent_again_is_the_lease_it_was(heart: Heart) -> None:
    """Paused between a grant and its lost reply: the same request gets the same grant, no task hangs in between."""
    first = _lease_any(heart, "r1")
    pausing.pause(heart.store, AGENT, "somebody")
    again = _lease_any(heart, "r1")
    assert first is not None
    assert again is not None
    assert (first.task.id, first.fence) == (again.task.id, again.fence) == ("t", first.fence)


def test_both_acts_are_idempotent(heart: Heart) -> None:
    """The first pause keeps its time and its name; a second one, and a resume of what runs, change nothing."""
    assert pausing.pause(heart.store, AGENT, "first")
    before = pausing.paused(heart.store)
    assert not pausing.pause(heart.store, AGENT, "second")
    assert pausing.paused(heart.store) == before
    assert before[AGENT].who == "first"
    assert before[AGENT].at is not None
    assert pausing.resume(heart.store, AGENT)
    assert not pausing.resume(heart.store, AGENT)
    assert pausing.paused(heart.store) == {}


def test_a_broken_row_is_still_a_pause(heart: Heart) -> None:
    """What stands beside the name is for people: without it the agent is paused all the same."""
    heart.client.hset(keys.PAUSED, AGENT, "{")
    assert heart.lease() is None
    assert pausing.paused(heart.store)[AGENT].at is None
    assert pausing.resume(heart.store, AGENT)
    assert heart.held().task.id == "t"


def test_resume_rings_the_bell(heart: Heart) -> None:
    """An idle worker need not wait for its next look."""
    with heart.client.pubsub(ignore_subscribe_messages=True) as bell:
        bell.subscribe(keys.BELL)
        bell.get_message(timeout=5.0)
        pausing.pause(heart.store, AGENT, "somebody")
        pausing.resume(heart.store, AGENT)
        rung = {bell.get_message(timeout=5.0)["data"] for _ in range(2)}
    assert rung == {b"work." + AGENT.encode(), b"meta." + AGENT.encode()}


def test_what_it_costs(heart: Heart) -> None:
    """One HKEYS in the lease's own step, whether somebody is paused or nobody, and however many queues."""

    def calls(name: str) -> int:
        stats: dict[str, Any] = heart.client.info("commandstats")
        return int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"])

    def cost(queues: list[str]) -> dict[str, int]:
        heart.client.config_resetstat()
        assert heart.lease(queues=queues) is None
        return {name: calls(name) for name in ("evalsha", "hkeys", "hexists", "hget", "hmget")}

    empty = [f"work.none{number}" for number in range(30)]
    # A server that has just started does not know the script yet.
    assert heart.lease(queues=empty) is None
    free = cost(empty)
    assert free == {"evalsha": 1, "hkeys": 1, "hexists": 0, "hget": 1, "hmget": 0}
    pausing.pause(heart.store, "someone", "somebody")
    assert cost(empty) == free
