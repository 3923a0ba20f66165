"""A key of another type in every position: ours stop the step before it writes, RQ's view never stops it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from proofq.policies.audit import VIEW_RULES
from proofq.workers import keys
from proofq.workers.audit import Audit
from proofq.workers.door import Event
from proofq.workers.scripts import NAMES, DamagedKey
from tests.heart import HOST, ISOLATION_MS, QUEUE, REQUESTS, VERDICT, Heart, Request, birth

pytestmark = pytest.mark.both_binaries

OURS = [(request, key) for request in REQUESTS for key in request.ours]
VIEW = [(request, key) for request in REQUESTS for key in request.view]
ROWS = [keys.task("t"), keys.crumbs("t"), keys.attempts("t")]


def _name(value: object) -> str:
    return str(value)


@contextmanager
def planted(heart: Heart, key: str) -> Iterator[None]:
    """A stranger's text under the key; afterwards what was there is put back with RENAME."""
    there = heart.client.exists(key)
    if there:
        heart.client.rename(key, "aside")
    heart.client.set(key, "stranger")
    yield
    assert heart.client.get(key) == b"stranger"
    heart.client.delete(key)
    if there:
        heart.client.rename("aside", key)


def contradictions(heart: Heart) -> list[object]:
    return list(Audit(heart.store).run().violations)


@pytest.mark.parametrize(("request_", "key"), OURS, ids=_name)
def test_key_of_ours_stops_the_step(redis_client: redis.Redis, request_: Request, key: str) -> None:
    """DamagedKey names the key, nothing at all is written, and once it is put back the same request goes through."""
    heart = Heart(redis_client)
    act = request_.ready(heart)
    with planted(heart, key):
        before = heart.dump()
        with pytest.raises(DamagedKey, match="nothing was written") as caught:
            act(lambda: True)
        assert caught.value.key == key
        assert caught.value.actual in {"string", "value of another type"}
        assert heart.dump() == before
    act(lambda: True)
    if request_.event:
        assert heart.store.read("t").state == request_.state
        assert heart.events().count(request_.event) == 1
    assert contradictions(heart) == []


@pytest.mark.parametrize(("request_", "key"), VIEW, ids=_name)
def test_key_of_the_view_stops_nothing(redis_client: redis.Redis, request_: Request, key: str) -> None:
    """The step goes through, the stranger's key is not touched, and what is ours agrees with itself."""
    heart = Heart(redis_client)
    act = request_.ready(heart)
    with planted(heart, key):
        act(lambda: True)
        assert heart.store.read("t").state == request_.state
        assert heart.events().count(request_.event) == 1
        assert {violation.rule for violation in Audit(heart.store).task("t")} <= {"wrong_type"}
    assert {violation.rule for violation in Audit(heart.store).task("t")} <= VIEW_RULES


@pytest.mark.parametrize("event", ["give_back", "requeue", "due", "replay"])
def test_who_is_queued_in_no_queue_is_found_again(redis_client: redis.Redis, event: str) -> None:
    """While its queue is a stranger's key the task is a stray; restored, it is leased once."""
    heart = Heart(redis_client)
    act = next(request for request in REQUESTS if request.name == event).ready(heart)
    with planted(heart, keys.rq_queue(QUEUE)):
        act(lambda: True)
        assert heart.store.watch(HOST).strays == ["t"]
        assert heart.store.restore("t") is False
    assert heart.store.restore("t") is True
    assert heart.store.watch(HOST).strays == []
    assert contradictions(heart) == []
    assert heart.held().task.id == "t"
    assert heart.lease() is None


@pytest.mark.parametrize("event", ["give_back", "requeue", "due", "replay"])
def test_nobody_is_queued_where_nobody_looks(redis_client: redis.Redis, event: str) -> None:
    """Queue and strays are both a stranger's key: nothing is written, and the request goes through afterwards."""
    heart = Heart(redis_client)
    act = next(request for request in REQUESTS if request.name == event).ready(heart)
    with planted(heart, keys.rq_queue(QUEUE)):
        heart.client.set(keys.STRAYS, "stranger")
        before = heart.dump()
        with pytest.raises(DamagedKey, match="nothing was written"):
            act(lambda: True)
        assert heart.dump() == before
        heart.client.delete(keys.STRAYS)
    act(lambda: True)
    assert contradictions(heart) == []
    assert heart.held().task.id == "t"


def test_a_follower_waits_until_somebody_would_find_it(redis_client: redis.Redis) -> None:
    """Its queue and the strays are a stranger's key when what it waits for ends: it is released once they are not."""
    heart = Heart(redis_client)
    heart.enlist("o")
    heart.store.enqueue(birth("p"))
    heart.store.enqueue(birth("t", after=["p"]))
    lease = heart.claimed()
    with planted(heart, keys.rq_queue(QUEUE)):
        heart.client.set(keys.STRAYS, "stranger")
        heart.settled(lease, Event("verify", "worker", verdict=VERDICT))
        assert heart.store.read("t").state == "deferred"
        heart.client.delete(keys.STRAYS)
    assert heart.store.watch(HOST).followed == ["p"]
    heart.store.call("follow", "p", 100, "2026-01-01T00:00:00Z", "worker", "[]", "[]")
    assert contradictions(heart) == []
    assert heart.held().task.id == "t"


@pytest.mark.parametrize("key", ROWS)
def test_damaged_task_does_not_stop_its_queue(redis_client: redis.Redis, key: str) -> None:
    """A lease sets the task with the damaged row aside and grants the next; put back, it is leased as well."""
    heart = Heart(redis_client)
    heart.enlist("o")
    heart.store.enqueue(birth("t"))
    heart.store.enqueue(birth("u"))
    with planted(heart, key):
        assert heart.held().task.id == "u"
        assert heart.store.watch(HOST).strays == ["t"]
        with pytest.raises(DamagedKey):
            heart.store.restore("t")
    assert heart.store.restore("t") is True
    assert heart.held().task.id == "t"
    assert contradictions(heart) == []


def test_a_lease_sent_again_needs_no_records_of_attempts(redis_client: redis.Redis) -> None:
    """A stranger's key took their place since the first answer, which was lost: the grant is the same."""
    heart = Heart(redis_client)
    heart.enlist("o")
    heart.store.enqueue(birth("t"))
    first = heart.lease(request="r1")
    with planted(heart, keys.attempts("t")):
        assert heart.lease(request="r1") == first
    assert heart.lease(request="r1") == first


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "", "12345678901234567"])
@pytest.mark.parametrize("field", ["attempt", "expires_at", "pickups"])
def test_a_row_with_a_broken_number_does_not_stop_its_queue(redis_client: redis.Redis, field: str, value: str) -> None:
    """More digits than a script can calculate with are broken, too. A lease sets it aside with nothing half written and
    grants the next; mended, it is leased as well."""
    heart = Heart(redis_client)
    heart.enlist("o")
    heart.store.enqueue(birth("t"))
    heart.store.enqueue(birth("u"))
    before = heart.client.hget(keys.task("t"), field)
    heart.client.hset(keys.task("t"), field, value)
    assert heart.held().task.id == "u"
    assert heart.client.hget(keys.task("t"), "state") == b"queued"
    assert heart.store.watch(HOST).strays == ["t"]
    with pytest.raises(DamagedKey, match=field):
        heart.store.restore("t")
    heart.client.hset(keys.task("t"), field, before or "0")
    assert heart.store.restore("t") is True
    assert heart.held().task.id == "t"
    assert contradictions(heart) == []


@pytest.mark.parametrize("event", ["retry", "requeue", "give_back", "due"])
def test_a_broken_number_leaves_no_half_transition(redis_client: redis.Redis, event: str) -> None:
    """DamagedKey names the row and the field, nothing is written, and mended the same request goes through."""
    heart = Heart(redis_client)
    request_ = next(one for one in REQUESTS if one.name == event)
    act = request_.ready(heart)
    expires = heart.client.hget(keys.task("t"), "expires_at")
    heart.client.hdel(keys.task("t"), "expires_at")
    before = heart.dump()
    with pytest.raises((DamagedKey, ValueError), match="expires_at"):
        act(lambda: True)
    assert heart.dump() == before
    heart.client.hset(keys.task("t"), "expires_at", expires)
    act(lambda: True)
    assert heart.store.read("t").state == request_.state
    assert contradictions(heart) == []


def test_broken_record_and_breadcrumb_keep_no_attempt_from_its_end(redis_client: redis.Redis) -> None:
    """What a script cannot read of the past is passed over or written anew: the end itself is whole."""
    heart = Heart(redis_client)
    heart.enlist("o")
    heart.store.enqueue(birth("t"))
    lease = heart.running()
    heart.client.hset(keys.attempts("t"), "1", "junk")
    heart.client.rpush(keys.crumbs("t"), "junk")
    heart.settled(lease, Event("give_back", "worker", "drains"))
    assert heart.store.read("t").state == "queued"
    assert heart.client.hlen(keys.leases("o")) == 0
    assert json.loads(heart.client.hget(keys.attempts("t"), "1"))["outcome"] == "given_back"
    heart.client.hset(keys.attempts("t"), "2", "junk")
    assert heart.held().task.attempt == 2


def test_leases_are_found_when_the_owners_were_moved_away(redis_client: redis.Redis) -> None:
    """The owners' key was damaged and is gone: nobody is known any more; who is buried with leases is, until reaped."""
    heart = Heart(redis_client)
    heart.enlist("o", "idle")
    heart.store.enqueue(birth("t"))
    task = heart.held().task
    heart.client.delete(keys.OWNERS)
    assert heart.store.beat("o", ISOLATION_MS) is None
    for owner in ("o", "idle"):
        heart.store.bury(owner, HOST, {"dead": "1"})
    assert heart.store.watch(HOST).overdue == {"o": 0}
    heart.enlist("r")
    assert heart.store.reap(task, "o", "r", slot="x", request="x", death=True, reason="dead", who="r") is not None
    assert heart.store.forget("o", HOST)
    heart.store.bury("o", HOST, {"dead": "1"})
    assert heart.store.watch(HOST).overdue == {}


def test_damaged_queue_hides_only_itself(redis_client: redis.Redis) -> None:
    """A lease passes over a queue of another type, writes nothing, and finds the task once it is put back."""
    heart = Heart(redis_client)
    heart.enlist("o")
    heart.store.enqueue(birth("t"))
    with planted(heart, keys.rq_queue(QUEUE)):
        before = heart.dump()
        assert heart.lease() is None
        assert heart.dump() == before
    assert heart.held().task.id == "t"


def test_damaged_row_does_not_stop_the_beat(redis_client: redis.Redis) -> None:
    """The beat renews every lease, also that of a task whose row nobody can read."""
    heart = Heart(redis_client)
    heart.enlist("o")
    heart.store.enqueue(birth("t"))
    lease = heart.held()
    with planted(heart, keys.task("t")):
        beat = heart.store.beat("o", 900_000)
        assert beat is not None
        assert beat.held == {"t": (lease.fence, False)}
    assert heart.client.zscore(keys.OWNERS, "o") == beat.now + 900_000


@pytest.mark.parametrize("key", [keys.host(HOST), keys.STRAYS, keys.DUE, keys.AGES])
def test_watch_counts_a_damaged_key_as_empty(redis_client: redis.Redis, key: str) -> None:
    """Only the owners are needed to see who is alive; of them it says which key is damaged."""
    heart = Heart(redis_client)
    heart.enlist("o")
    with planted(heart, key):
        assert heart.store.watch(HOST).overdue == {}
    with planted(heart, keys.OWNERS), pytest.raises(DamagedKey, match=keys.OWNERS):
        heart.store.watch(HOST)


def test_every_script_that_writes_is_here() -> None:
    """No script is forgotten; some only read, others have files of their own."""
    names = {"settle" if request.ready.__name__ == "ready" else request.name for request in REQUESTS}
    reading = {"watch", "peek", "census", "kept", "members"}
    elsewhere = {"incident", "owner", "aside", "parked", "rq_rows", "purge", "mend", "unlist", "gate"}
    assert names >= set(NAMES) - reading - elsewhere
