"""Caps whose keys are lost or are a stranger's: nothing more begins than may, everybody ends, and the audit tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from proofq.workers import cap_view, keys
from proofq.workers.audit import Audit
from proofq.workers.repair import Repair
from tests.capped import Capped, ended
from tests.heart import HOST


@pytest.fixture
def capped(redis_client: redis.Redis) -> Callable[..., Capped]:
    return lambda wishes, owners=("o",): Capped(redis_client, wishes, owners)


@pytest.fixture
def stranger(redis_client: redis.Redis) -> Callable[[str], None]:
    """Puts a stranger's text in the place of a key."""
    client: Any = redis_client

    def plant(key: str) -> None:
        if client.exists(key):
            client.rename(key, "aside")
        client.set(key, "stranger")

    return plant


@pytest.mark.parametrize("key", [keys.running("agent:a"), keys.starts("agent:a")])
def test_a_strangers_key_lets_nobody_begin_and_everybody_end(
    capped: Callable[..., Capped], stranger: Callable[[str], None], key: str
) -> None:
    """Nothing can be counted, so nothing begins, and `show` says so; what runs ends; put right, it goes on, exact."""
    heart = capped({"a": "- agent:a 2 9 1000"})
    heart.store.describe("o", HOST, {"lane": "work", "state": "ready", "slots": 9, "caps": '{"a":"agent:a 2 9 1000"}'})
    heart.born("a", 4)
    first, second = heart.next(), heart.next()
    assert first is not None
    assert second is not None
    stranger(key)
    if key == keys.starts("agent:a"):
        ended(heart, second)
    assert heart.next() is None
    reached = cap_view.before(heart.store, "a", "work")
    assert reached is not None
    assert reached.damaged
    ended(heart, first)
    assert heart.client.get(key) == b"stranger"
    assert {one.subject for one in Audit(heart.store).run().violations} == {key}
    heart.client.rename("aside", key)
    assert heart.next() is not None
    assert heart.leased().count("a") <= 2


def test_a_strangers_key_of_leases_counts_as_running(
    capped: Callable[..., Capped], stranger: Callable[[str], None]
) -> None:
    """While nobody can tell what an owner holds, what it held counts; and no index is made of half of the leases."""
    heart = capped({"a": "- agent:a 1 0 0"}, ["o", "p"])
    heart.born("a", 2)
    assert heart.next("o") is not None
    stranger(keys.leases("o"))
    assert heart.next("p") is None
    heart.client.delete(keys.running("agent:a"))
    assert heart.next("p") is None
    heart.client.rename("aside", keys.leases("o"))
    assert heart.next("p") is None
    assert heart.indexed("agent:a") == {"a1"}


def test_a_lost_lease_is_counted_again_once_it_is_mended(capped: Callable[..., Capped]) -> None:
    """The key of an owner's leases was lost, and the audit's repair brings the lease back: it is alone again."""
    heart = capped({"a": "- agent:a 1 0 0"})
    heart.born("a", 3)
    assert heart.next() is not None
    heart.client.delete(keys.leases("o"))
    # As whoever looks while it is lost.
    heart.client.zrem(keys.running("agent:a"), *heart.indexed("agent:a"))
    Repair(heart.store, heart.door).run()
    assert heart.next() is None
    assert heart.leased() == ["a"]


def test_the_audit_names_what_is_leased_and_not_counted(capped: Callable[..., Capped]) -> None:
    """The index was lost: the audit says so until the next lease has counted anew."""
    heart = capped({"a": "- agent:a 2 0 0"})
    heart.born("a", 2)
    assert heart.next() is not None
    heart.client.delete(keys.running("agent:a"))
    assert [(one.rule, one.subject) for one in Audit(heart.store).run().violations] == [("cap_counted", "agent:a")]
    assert heart.next() is not None
    assert Audit(heart.store).run().violations == []


def test_a_damaged_task_hides_no_other_that_is_not_counted(capped: Callable[..., Capped]) -> None:
    """A stranger's key in the place of one task's row: those that its owner holds beside it are looked at."""
    heart = capped({"a": "- agent:a 2 0 0"})
    heart.born("a", 2)
    first, second = heart.next(), heart.next()
    assert first is not None
    assert second is not None
    heart.client.delete(keys.running("agent:a"))
    for damaged in (first, second):
        whole = heart.client.dump(keys.task(damaged.task.id))
        heart.client.delete(keys.task(damaged.task.id))
        heart.client.set(keys.task(damaged.task.id), "stranger")
        found = {(one.rule, one.subject) for one in Audit(heart.store).run().violations}
        assert ("cap_counted", "agent:a") in found
        heart.client.restore(keys.task(damaged.task.id), 0, whole, replace=True)
