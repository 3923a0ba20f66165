"""A row that nobody can read is taken out of everybody's way, in one step, and kept for people."""

from __future__ import annotations

import json

import pytest
import redis

from proofq.workers import keys
from proofq.workers.leasing import UnreadableRow
from proofq.workers.record import Task
from proofq.workers.scripts import DamagedKey
from tests.heart import QUEUE, Heart, birth


@pytest.fixture
def heart(redis_client: redis.Redis) -> Heart:
    """One owner; a task whose inputs are no JSON, and a good one behind it."""
    made = Heart(redis_client)
    made.enlist("o")
    for name in ("t", "good"):
        made.store.enqueue(birth(name))
    made.client.hset(keys.task("t"), "inputs", "{")
    return made


def test_the_next_is_leased(heart: Heart) -> None:
    """Whoever leases it sets it aside: no lease is left, the row stays as it is, and the one behind it runs."""
    with pytest.raises(UnreadableRow, match="cannot be read"):
        heart.lease()
    stray = json.loads(heart.client.hget(keys.STRAYS, "t"))
    assert "cannot be read" in stray["reason"]
    assert heart.client.hget(keys.task("t"), "inputs") == b"{"
    assert not heart.client.exists(keys.leases("o"))
    lease = heart.lease()
    assert lease is not None
    assert lease.task.id == "good"
    assert isinstance(lease.task, Task)


@pytest.mark.parametrize("key", [keys.OWNERS, keys.STRAYS, keys.leases("o"), keys.DUE, keys.AGES])
def test_a_key_of_another_type_stops_the_step(heart: Heart, key: str) -> None:
    """Nothing is written, and the key is named."""
    heart.client.delete(key)
    heart.client.set(key, "stranger")
    before = heart.dump()
    with pytest.raises(DamagedKey, match=key):
        heart.store.set_aside("t", "o", QUEUE, "reason")
    assert heart.dump() == before


def test_asked_again_it_changes_nothing(heart: Heart) -> None:
    """A lost reply does no harm."""
    with pytest.raises(UnreadableRow):
        heart.lease()
    before = heart.dump()
    heart.runner.again()()
    after = heart.dump()
    assert {key for key in after if after[key] != before.get(key)} <= {keys.STRAYS.encode()}


def test_a_full_redis_sets_aside_too(heart: Heart) -> None:
    """It must not block a queue while memory is short."""
    heart.client.config_set("maxmemory", 1)
    try:
        heart.store.set_aside("t", "o", QUEUE, "reason")
    finally:
        heart.client.config_set("maxmemory", 0)
    assert heart.client.hexists(keys.STRAYS, "t")


def test_so_many_in_one_step(redis_client: redis.Redis) -> None:
    """Ids of nobody before a task: 64 are taken out at a time, while Redis serves nobody else; then it is leased."""
    heart = Heart(redis_client)
    heart.enlist("o")
    heart.client.rpush(keys.rq_queue(QUEUE), *(f"nobody{number}" for number in range(100)))
    heart.store.enqueue(birth("t"))
    for strays in (64, 100):
        lease = heart.lease()
        assert heart.client.hlen(keys.STRAYS) == strays
    assert lease is not None
    assert lease.task.id == "t"
