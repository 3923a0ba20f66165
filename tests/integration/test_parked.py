"""Jobs that RQ keeps beside our queues until later are found, whatever stands there of ours, a few at a time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from rq import Queue
from rq.job import Job, JobStatus
from rq.registry import DeferredJobRegistry, ScheduledJobRegistry
from rq.serializers import JSONSerializer

from proofq.policies import lifecycle
from proofq.policies.agent import AgentSpec
from proofq.workers import keys
from proofq.workers.audit import Audit
from proofq.workers.scripts import DamagedKey
from proofq.workers.strays import Strays
from tests.heart import AGENT, QUEUE, Heart, birth

MANY = 100_000


@pytest.fixture
def heart(redis_client: redis.Redis) -> Heart:
    made = Heart(redis_client)
    made.enlist("o")
    return made


def rq_queue(heart: Heart) -> Queue:
    return Queue(QUEUE, connection=heart.client, serializer=JSONSerializer)


def dependent(heart: Heart, name: str) -> Job:
    parent = Queue("elsewhere", connection=heart.client).enqueue("print", job_id=f"parent-{name}")
    return rq_queue(heart).enqueue("proofq.run", {"x": 1}, depends_on=parent, job_id=name)


def test_it_is_found_among_any_number_of_ours(heart: Heart) -> None:
    """One job of RQ's behind 100,000 deferred tasks is found by the first look, which costs no more than without."""
    registry = keys.rq_registry("deferred", QUEUE)
    later = (int(heart.client.time()[0]) + 3600) * 1000
    heart.client.zadd(registry, {f"ours-{number}": later + number for number in range(MANY)})
    dependent(heart, "theirs")
    heart.client.config_resetstat()
    assert heart.store.parked([QUEUE]) == ["theirs"]
    calls = heart.client.info("commandstats")
    assert sum(stat["calls"] for name, stat in calls.items() if name != "cmdstat_config|resetstat") < 20
    assert heart.client.zcard(registry) == MANY
    assert json.loads(heart.client.hget(keys.STRAYS, "theirs"))["parked"] == "deferred"


def test_our_own_rows_are_never_looked_at(heart: Heart) -> None:
    """Deferred tasks of ours, due or not, and held ones stay where they are; no breadcrumb is added."""
    now_ms = int(heart.client.time()[0]) * 1000
    heart.store.enqueue(birth("due", later_ms=now_ms - 5000))
    heart.store.enqueue(birth("later", later_ms=now_ms + 5_000_000))
    before = heart.dump()
    assert heart.store.parked([QUEUE]) == []
    assert heart.dump() == before


def test_no_more_than_the_bound_in_one_look(heart: Heart) -> None:
    """Many jobs of RQ's are taken a few at a time, and none is left behind."""
    at = datetime.now(UTC) + timedelta(hours=1)
    names = {rq_queue(heart).enqueue_at(at, "proofq.run", {"x": n}).id for n in range(25)}
    looks = [heart.store.parked([QUEUE], limit=10) for _ in range(4)]
    assert [len(look) for look in looks] == [10, 10, 5, 0]
    assert {name for look in looks for name in look} == names


@pytest.mark.parametrize("where", ["deferred", "scheduled"])
def test_a_task_put_there_from_outside_is_put_right(heart: Heart, strays: Strays, where: str) -> None:
    """Its view is restored, and its breadcrumbs say that somebody tried."""
    heart.store.enqueue(birth("t"))
    job = Job.fetch("t", connection=heart.client, serializer=JSONSerializer)
    if where == "scheduled":
        rq_queue(heart).schedule_job(job, datetime.now(UTC))
    else:
        DeferredJobRegistry(QUEUE, connection=heart.client).add(job)
    assert strays.settle(heart.store.parked([QUEUE])) == 1
    crumb = heart.store.peek("t").crumbs[-1]
    assert (crumb.event, crumb.who) == ("refused:defer", "rq")
    assert heart.store.read("t").state == lifecycle.QUEUED
    assert heart.client.hget(keys.rq_job("t"), "status") == b"queued"
    assert Audit(heart.store).run().violations == []


def test_a_row_of_ours_scored_by_rq_is_scored_anew(heart: Heart) -> None:
    """A deferred task that one of RQ's tools has added again keeps its place, under our score."""
    later = (int(heart.client.time()[0]) + 3600) * 1000
    heart.store.enqueue(birth("t", later_ms=later))
    registry = DeferredJobRegistry(QUEUE, connection=heart.client)
    registry.add(Job.fetch("t", connection=heart.client, serializer=JSONSerializer))
    heart.store.parked([QUEUE])
    assert heart.client.zscore(registry.key, "t") == later
    assert heart.events() == ["enqueue_later"]


@pytest.mark.parametrize("key", [keys.RQ_DEFERRED + QUEUE, keys.RQ_SCHEDULED + QUEUE])
def test_a_registry_of_another_type_hides_no_other(heart: Heart, key: str) -> None:
    """It counts as empty and is left alone; what stands in the other is found."""
    dependent(heart, "dependent")
    scheduled = rq_queue(heart).enqueue_in(timedelta(hours=1), "proofq.run", {"x": 1})
    heart.client.delete(key)
    heart.client.set(key, "stranger")
    assert heart.store.parked([QUEUE]) == ([scheduled.id] if key.startswith(keys.RQ_DEFERRED) else ["dependent"])
    assert heart.client.get(key) == b"stranger"


@pytest.mark.parametrize("key", [keys.OWNERS, keys.STRAYS])
def test_a_key_of_ours_of_another_type_stops_the_look(heart: Heart, key: str) -> None:
    """Nothing is taken that could not be kept."""
    dependent(heart, "dependent")
    heart.client.delete(key)
    heart.client.set(key, "stranger")
    before = heart.dump()
    with pytest.raises(DamagedKey, match=key):
        heart.store.parked([QUEUE])
    assert heart.dump() == before


def test_a_full_redis_takes_them_too(heart: Heart) -> None:
    """At its maxmemory nothing is lost half-way: the id leaves RQ's registry and stands among the strays."""
    dependent(heart, "dependent")
    heart.client.config_set("maxmemory", 1)
    try:
        assert heart.store.parked([QUEUE]) == ["dependent"]
    finally:
        heart.client.config_set("maxmemory", 0)
    assert heart.client.hexists(keys.STRAYS, "dependent")


@pytest.mark.parametrize("score", ["+inf", "-inf", "1e300", "-5"])
def test_a_time_that_is_none_is_refused(heart: Heart, strays: Strays, score: str) -> None:
    """No score of a registry stops the look, and the job behind it says what was wrong."""
    job = rq_queue(heart).enqueue_in(timedelta(hours=1), "proofq.run", {"x": 1})
    heart.client.zadd(keys.RQ_SCHEDULED + QUEUE, {job.id: score})
    assert strays.settle(heart.store.parked([QUEUE])) == 1
    failure = heart.store.read(job.id).failure
    assert failure is not None
    assert "a time that is none" in failure.reason


def test_the_job_may_come_after_its_id(heart: Heart, strays: Strays) -> None:
    """RQ names a job of a pipeline in the schedule before it is saved: the id waits among the strays until it is."""
    queue = rq_queue(heart)
    job = queue.create_job("proofq.run", ({"x": 1},), status=JobStatus.SCHEDULED)
    ScheduledJobRegistry(queue=queue).schedule(job, datetime.now(UTC) + timedelta(seconds=60))
    taken = heart.store.parked([QUEUE])
    assert strays.settle(taken) == 0
    job.save()
    assert Strays(heart.store, heart.door, strays._agents).settle(taken) == 1
    assert heart.store.read(job.id).state == lifecycle.DEFERRED
    assert Audit(heart.store).run().violations == []


def test_its_parent_does_not_replay_what_was_refused(heart: Heart, strays: Strays) -> None:
    """Stock RQ that ends the parent pushes no id of a task that was refused for depending on it."""
    job = dependent(heart, "child")
    strays.settle(heart.store.parked([QUEUE]))
    assert heart.store.read(job.id).state == lifecycle.FAILED
    parent = Job.fetch("parent-child", connection=heart.client)
    parent.set_status(JobStatus.FINISHED)
    Queue("elsewhere", connection=heart.client).enqueue_dependents(parent)
    assert heart.client.llen(keys.rq_queue(QUEUE)) == 0


def test_what_is_adopted_does_not_expire_as_rq_would_have_it(heart: Heart, strays: Strays) -> None:
    """A job with a ttl of RQ's: once it is a task its hash stays, as long as the task is kept."""
    job = rq_queue(heart).enqueue("proofq.run", {"x": 1}, ttl=60)
    heart.client.expire(job.key, 60)
    heart.enlist("o")
    assert heart.lease() is None
    strays.settle(heart.store.watch("host").strays)
    assert heart.events(job.id) == ["adopt"]
    assert heart.client.ttl(job.key) == -1


@pytest.fixture
def strays(heart: Heart) -> Strays:
    """Looks after strays for a worker that declares the agent."""
    schema: dict[str, Any] = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
    spec = AgentSpec(AGENT, "command", command=("true",), inputs_schema=schema, unproven=True)
    return Strays(heart.store, heart.door, {AGENT: spec})
