"""The rows by which RQ's people see our slots: written for a live owner alone, dropped with it, never in the way."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from proofq.workers import keys, rq_rows
from proofq.workers.scripts import DamagedKey
from tests.heart import HOST, ISOLATION_MS, QUEUE, Heart

NAME = keys.rq_worker_name("w", "work", "0")
ROW = keys.RQ_WORKER + NAME
VIEW = [ROW, keys.RQ_WORKERS, keys.RQ_WORKERS_OF + QUEUE]


@pytest.fixture
def heart(redis_client: redis.Redis) -> Heart:
    made = Heart(redis_client)
    enlist(made, "o")
    return made


def enlist(heart: Heart, owner: str) -> None:
    row = {"id": owner, "name": "w", "lane": "work", "slots": 2, "agents": "a b"}
    heart.store.enlist(owner, HOST, ISOLATION_MS, row)


def show(heart: Heart, owner: str = "o", **fields: Any) -> None:
    rows = {keys.rq_worker_name("w", "work", slot): {"state": "idle", **fields} for slot in "01"}
    rq_rows.show(heart.store, owner, {"pid": "7", "queues": QUEUE}, rows, [QUEUE])


def shown(heart: Heart) -> set[bytes]:
    return set(heart.client.keys("rq:worker*"))


def test_they_come_and_go_with_their_owner(heart: Heart) -> None:
    """A row per slot and its place in RQ's sets; buried, nothing of them is left."""
    show(heart, task="t")
    assert heart.client.hget(ROW, "task") == b"t"
    assert 0 < heart.client.ttl(ROW) <= 60
    assert len(shown(heart)) == 2 + 2
    show(heart)
    assert not heart.client.hexists(ROW, "task")
    heart.store.bury("o", HOST, {"dead": "1"})
    assert shown(heart) == set()


def test_the_buried_writes_none(heart: Heart) -> None:
    """A cut-off supervisor that wakes after its burial is no worker any more."""
    heart.store.bury("o", HOST, {"dead": "1"})
    show(heart)
    show(heart, owner="nobody")
    assert shown(heart) == set()


def test_a_burial_leaves_what_a_later_owner_wrote(heart: Heart) -> None:
    """The same worker's next supervisor has the same names: its rows are its own."""
    show(heart)
    enlist(heart, "later")
    show(heart, "later")
    before = shown(heart)
    heart.store.bury("o", HOST, {"dead": "1"})
    assert shown(heart) == before
    heart.client.zadd(keys.OWNERS, {"later": 1})
    assert heart.store.condemn("later", HOST, {"dead": "1"})
    assert shown(heart) == set()


def test_suspended_slots_say_so(heart: Heart) -> None:
    """While RQ's workers are suspended an idle slot is shown as such."""
    heart.client.set(keys.RQ_SUSPENDED, 1)
    show(heart)
    assert heart.client.hget(ROW, "state") == b"suspended"
    heart.client.delete(keys.RQ_SUSPENDED)
    show(heart)
    assert heart.client.hget(ROW, "state") == b"idle"


@pytest.mark.parametrize("key", VIEW)
@pytest.mark.parametrize("step", ["show", "bury"])
def test_a_key_of_the_view_of_another_type_stops_nothing(heart: Heart, step: str, key: str) -> None:
    """The stranger's key is not touched, the other rows are written, and the burial is done all the same."""
    if step == "bury":
        show(heart)
    heart.client.delete(key)
    heart.client.set(key, "stranger")
    if step == "show":
        show(heart)
        assert heart.client.exists(keys.RQ_WORKER + keys.rq_worker_name("w", "work", "1"))
    heart.store.bury("o", HOST, {"dead": "1"})
    assert heart.client.zscore(keys.OWNERS, "o") == 0
    assert heart.client.get(key) == b"stranger"
    assert not heart.client.exists(keys.RQ_WORKER + keys.rq_worker_name("w", "work", "1"))


def test_owners_of_another_type_stop_it(heart: Heart) -> None:
    """Nothing is written, and the key is named."""
    heart.client.delete(keys.OWNERS)
    heart.client.set(keys.OWNERS, "stranger")
    before = heart.dump()
    with pytest.raises(DamagedKey, match=keys.OWNERS):
        show(heart)
    assert heart.dump() == before


def test_a_full_redis_shows_them(heart: Heart) -> None:
    """At maxmemory operators look at their workers most of all."""
    heart.client.config_set("maxmemory", 1)
    try:
        show(heart)
    finally:
        heart.client.config_set("maxmemory", 0)
    assert len(shown(heart)) == 4


@pytest.mark.parametrize("slots", ["", "x", "-1", "1e9", "nan"])
def test_a_broken_row_of_an_owner_keeps_nobody_from_burying_it(heart: Heart, slots: str) -> None:
    """Its rows then expire by themselves."""
    show(heart)
    heart.client.hset(keys.owner("o"), "slots", slots)
    heart.store.bury("o", HOST, {"dead": "1"})
    assert heart.client.zscore(keys.OWNERS, "o") == 0
