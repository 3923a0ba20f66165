"""A reply lost on every script: the step was carried out, nobody knows it, and sent again it is done no second time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from proofq.policies import lifecycle
from proofq.workers import connection, keys
from proofq.workers.audit import Audit
from proofq.workers.errors import RedisUnavailable
from proofq.workers.insist import insist
from tests.heart import AGENT, HOST, ISOLATION_MS, QUEUE, REQUESTS, Heart, Request, birth
from tests.proxy import LosingProxy
from tests.servers import PrivateServer

#: Requests at the door: of the holder of a lease, and of somebody who asks.
AT_THE_DOOR = [request for request in REQUESTS if request.ready.__qualname__.startswith(("_leased", "_unleased"))]
#: What a request sent again is answered where that differs from the first time.
AGAIN = {
    "enqueue": b"same",
    "enqueue_later": b"same",
    "enqueue_after": b"same",
    "follow": b"told",
    "lease": b"granted",
    "reap": b"taken",
    "restore": b"kept",
    "forget": b"unknown",
    "pause": b"already",
    "effect": b"go",
    "spend": b"taken",
    "spend_admit": b"taken",
    "spend_close": b"taken",
    "resume": b"already",
}
#: What a request sent again may renew: it holds a time.
RENEWED = {"beat": {keys.OWNERS.encode()}, "enlist": {keys.OWNERS.encode(), keys.owner("o").encode()}}


@pytest.fixture
def proxy(redis_server: PrivateServer, redis_client: redis.Redis) -> Iterator[LosingProxy]:
    """A way to the module's server, which is empty."""
    with LosingProxy(redis_server.socket) as opened:
        yield opened


@pytest.fixture(params=["pool", "own"])
def heart(proxy: LosingProxy, request: pytest.FixtureRequest) -> Iterator[Heart]:
    """A store that speaks through the proxy, as a command does it and as a worker does it."""
    client = connection.client(proxy.url)
    yield Heart(client, own_connections=request.param == "own")
    client.close()


def as_if_sent_once(heart: Heart, request: Request) -> None:
    """Task, breadcrumbs, attempts, leases and RQ's view agree, and the event stands once."""
    assert Audit(heart.store).run().violations == []
    if not request.event:
        return
    task = heart.store.read("t")
    events = heart.events()
    assert task.state == request.state
    assert events.count(request.event) == 1
    assert not [event for event in events if lifecycle.is_refused(event)]
    assert heart.client.zcard(keys.TASKS) == len(heart.client.keys(f"{keys.TASK}*"))
    held = [owner for owner in ("o", "r") if heart.client.hexists(keys.leases(owner), "t")]
    assert len(held) == (task.state in lifecycle.OWNED)
    queued = [name for name in heart.client.lrange(keys.rq_queue(QUEUE), 0, -1) if name == b"t"]
    assert queued == ([b"t"] if task.state == lifecycle.QUEUED else [])


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_same_request_again_changes_nothing(proxy: LosingProxy, heart: Heart, request_: Request) -> None:
    """The caller is told that nobody knows; the very same request is answered as done, twice over."""
    act = request_.ready(heart)
    proxy.lose_next()
    with pytest.raises(RedisUnavailable, match="did not answer"):
        act(lambda: True)
    assert proxy.lost == 1
    again, once = heart.runner.again(), heart.dump()
    for _ in range(2):
        word = again()[0]
        known = b"already" if request_.event else b"ok"
        assert word == AGAIN.get(request_.name, known), word
        as_if_sent_once(heart, request_)
    moved = {key for key, value in heart.dump().items() if once.get(key) != value}
    assert moved <= RENEWED.get(request_.name, set())
    assert heart.dump().keys() == once.keys()


@pytest.mark.parametrize("request_", AT_THE_DOOR, ids=str)
def test_the_door_insists(proxy: LosingProxy, heart: Heart, request_: Request) -> None:
    """As in production: the door sends the move again by itself, until it hears that it is written."""
    act = request_.ready(heart)
    proxy.lose_next(3)
    asked: list[int] = []

    def never() -> bool:
        asked.append(proxy.lost)
        return False

    assert act(never).ok
    assert asked == [1, 2, 3]
    as_if_sent_once(heart, request_)


def test_lease_insisted_on_is_one_lease(proxy: LosingProxy, heart: Heart) -> None:
    """A slot that asks again gets the grant it was made, though other tasks wait; the next request gets the next."""
    heart.enlist("o")
    heart.store.enqueue(birth("t"))
    heart.store.enqueue(birth("u"))
    proxy.lose_next(2)
    first = insist(lambda: heart.lease(request="r1"), heart.clock, lambda: False)
    assert first is not None
    assert (first.task.id, first.task.pickups, first.task.attempt) == ("t", 1, 1)
    assert heart.store.leases_of("o") == ["t"]
    second = heart.lease(request="r2")
    assert second is not None
    assert second.task.id == "u"
    assert Audit(heart.store).run().violations == []


def test_grant_of_a_lease_that_ended_is_not_made_again(proxy: LosingProxy, heart: Heart) -> None:
    """Somebody took the lease before the slot asked again: it is told that there is nothing, and takes no second."""
    heart.enlist("o")
    heart.store.enqueue(birth("t"))
    proxy.lose_next()
    with pytest.raises(RedisUnavailable):
        heart.lease(request="r1")
    task = heart.store.read("t")
    heart.store.bury("o", HOST, {"dead": "1"})
    heart.enlist("r")
    reaped = heart.store.reap(task, "o", "r", slot="reaper", request="x", death=True, reason="dead", who="r")
    assert reaped is not None
    heart.enlist("o")
    assert heart.lease(request="r1") is None
    assert heart.store.read("t").owner == "r"


def test_enqueue_insisted_on_is_one_task(proxy: LosingProxy, heart: Heart) -> None:
    """Four lost replies, one id, one key: one task, and the key names it."""
    once = birth("t", key="k")
    proxy.lose_next(4)
    assert insist(lambda: heart.store.enqueue(once), heart.clock, lambda: False) == ("same", "t")
    assert heart.store.newest(0, 10) == ["t"]
    assert heart.client.hget(keys.key(AGENT, "k"), "id") == b"t"
    assert heart.store.enqueue(birth("u", key="k")) == ("same", "t")


def test_reads_are_asked_again(proxy: LosingProxy, heart: Heart) -> None:
    """Watch and peek write nothing; a lost answer is only asked for again."""
    heart.enlist("o")
    heart.store.enqueue(birth("t"))
    before = heart.dump()
    for read in (lambda: heart.store.watch(HOST).neighbours, lambda: heart.store.snapshot("t").task.id):
        proxy.lose_next()
        with pytest.raises(RedisUnavailable):
            read()
        assert read() in (["o"], "t")
    assert heart.dump() == before


def test_beat_lost_again_and_again_holds_the_leases(proxy: LosingProxy, heart: Heart) -> None:
    """The server heard each beat: nobody may take the lease."""
    heart.enlist("o", "r")
    heart.store.enqueue(birth("t"))
    lease = heart.held()
    heart.client.zadd(keys.OWNERS, {"o": 1})
    proxy.lose_next()
    with pytest.raises(RedisUnavailable):
        heart.store.beat("o", ISOLATION_MS)
    taken = heart.store.reap(lease.task, "o", "r", slot="x", request="x", death=True, reason="silent", who="r")
    assert taken is None
    beat = heart.store.beat("o", ISOLATION_MS)
    assert beat is not None
    assert beat.held == {"t": (lease.fence, False)}
