"""A Redis at its maxmemory: new work is refused loudly, the work there is goes on to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from proofq.policies import lifecycle
from proofq.workers import keys
from proofq.workers.audit import Audit
from proofq.workers.door import Event
from proofq.workers.errors import RedisUnavailable
from tests.heart import HOST, LOST, REQUESTS, VERDICT, Heart, Request, birth

pytestmark = pytest.mark.both_binaries

#: Everything but new work goes on, the enlisting of a worker that will drain it included.
GOES_ON = [request for request in REQUESTS if not request.name.startswith("enqueue")]
NEW = [request for request in REQUESTS if request.name.startswith("enqueue")]


@pytest.fixture
def full(redis_client: redis.Redis) -> Iterator[Callable[[], None]]:
    """Fills the server to its maxmemory when called; it is given memory again afterwards."""
    client: Any = redis_client

    def fill() -> None:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 1_000_000)
        written = 0
        try:
            while written < 10_000:
                client.set(f"filler:{written}", b"x" * 10_000)
                written += 1
        except redis.OutOfMemoryError:
            assert written
        # What little was still free must not let a small request through.
        client.config_set("maxmemory", max(1, client.info("memory")["used_memory"] // 2))

    yield fill
    client.config_set("maxmemory", 0)


def more(heart: Heart) -> None:
    """Memory is given again."""
    heart.client.config_set("maxmemory", 0)


@pytest.mark.parametrize("request_", NEW, ids=str)
def test_new_work_is_refused(redis_client: redis.Redis, full: Callable[[], None], request_: Request) -> None:
    """One sentence says why, nothing is written, and with memory again the same request creates the task."""
    heart = Heart(redis_client)
    act = request_.ready(heart)
    full()
    before = heart.dump()
    with pytest.raises(RedisUnavailable, match=r"maxmemory .* nothing was written\. Give it more memory"):
        act(lambda: True)
    assert heart.dump() == before
    more(heart)
    assert act(lambda: True) == ("created", "t")
    assert Audit(heart.store).run().violations == []


@pytest.mark.parametrize("request_", GOES_ON, ids=str)
def test_what_there_is_goes_on(redis_client: redis.Redis, full: Callable[[], None], request_: Request) -> None:
    """Lease, beat, every settlement, reap and the owners' comings and goings need no free memory to be allowed."""
    heart = Heart(redis_client)
    act = request_.ready(heart)
    full()
    act(lambda: True)
    if request_.event:
        assert heart.store.read("t").state == request_.state
        assert heart.events().count(request_.event) == 1
    more(heart)
    assert Audit(heart.store).run().violations == []


def test_a_full_redis_drains(redis_client: redis.Redis, full: Callable[[], None]) -> None:
    """Queued, running, claimed and dead work of a full server all comes to its end; then there is room again."""
    heart = Heart(redis_client)
    heart.enlist("o", "dead")
    for name in ("run", "claimed", "lost", "queued", "unwanted"):
        heart.store.enqueue(birth(name))
    running, claimed, lost = heart.running(), heart.claimed(), heart.running("dead")
    full()
    with pytest.raises(RedisUnavailable, match="maxmemory"):
        heart.store.enqueue(birth("new"))
    assert heart.store.beat("o", 600_000) is not None
    after = heart.settled(running, Event("claim", "worker", claim="done")).lease
    assert after is not None
    heart.settled(after, Event("verify", "worker", verdict=VERDICT))
    heart.settled(claimed, Event("finish_unproven", "worker"))
    heart.store.bury("dead", HOST, {"dead": "1"})
    taken = heart.store.reap(lost.task, "dead", "o", slot="reaper", request="r", death=True, reason="dead", who="w")
    assert taken is not None
    heart.settled(taken, LOST)
    assert heart.store.forget("dead", HOST)
    assert heart.door.apply("unwanted", Event("cancel", "test", "not needed")).ok
    while (lease := heart.lease()) is not None:
        started = heart.settled(lease, Event("start", "worker")).lease
        assert started is not None
        ended = heart.settled(started, Event("claim", "worker", claim="done")).lease
        assert ended is not None
        heart.settled(ended, Event("verify", "worker", verdict=VERDICT))
    states = {name: heart.store.read(name).state for name in heart.store.newest(0, 10)}
    assert states == {
        "run": lifecycle.VERIFIED,
        "claimed": lifecycle.FINISHED_UNPROVEN,
        "lost": lifecycle.VERIFIED,
        "queued": lifecycle.VERIFIED,
        "unwanted": lifecycle.CANCELLED,
    }
    assert heart.client.hlen(keys.leases("o")) == 0
    with pytest.raises(RedisUnavailable, match="maxmemory"):
        Audit(heart.store).run()
    more(heart)
    assert Audit(heart.store).run().violations == []
    assert heart.store.enqueue(birth("new")) == ("created", "new")
