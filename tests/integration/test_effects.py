"""What is on record of effects: secrets hidden, broken rows passed over, and the audit names what does not agree."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from proofq.workers import effects, keys
from proofq.workers.answering import Question
from proofq.workers.audit import Audit
from proofq.workers.errors import BadInput, LeaseLost, RedisUnavailable, Refused, UnknownTask
from proofq.workers.record import Lease
from tests.heart import Heart, birth


class Begun:
    """A running task, and the desk that answers it."""

    def __init__(self, client: redis.Redis) -> None:
        self.heart = Heart(client)
        self.heart.enlist("o")
        self.heart.store.enqueue(birth("t"))
        self.lease: Lease = self.heart.running()
        self.desk = effects.Desk(self.heart.store, lambda agent: ("hunter2",))

    def ask(self, op: str, **args: Any) -> Any:
        """What the desk answers; nobody insists."""
        held: Any = SimpleNamespace(task_id="t", fence=self.lease.fence, task=self.lease.task)
        return self.desk.handlers()[f"effect.{op}"](Question(held, args, lambda: True))


@pytest.fixture
def begun(redis_client: redis.Redis) -> Begun:
    """One on an empty server."""
    return Begun(redis_client)


def test_secrets_are_kept_nowhere(begun: Begun) -> None:
    """Neither in a key nor in an outcome; and the key with one is the same key the next time."""
    told = begun.ask("intend", key="mail hunter2")
    begun.ask("record", key="mail hunter2", rid=told["rid"], outcome={"sent": ["with hunter2"]})
    (one,) = effects.of_task(begun.heart.store, "t")
    assert "hunter2" not in f"{one.key} {one.outcome}"
    assert begun.ask("intend", key="mail hunter2")["is"] == "done"
    raw = begun.heart.client.hgetall(keys.effects("t"))
    assert b"hunter2" not in b"".join([*raw, *raw.values()])


def test_an_intent_is_replaced_by_whoever_knows_it(begun: Begun) -> None:
    """Two that both found it open: one is told to go, the other that it is open again."""
    first = begun.ask("intend", key="k")["rid"]
    assert begun.ask("intend", key="k") | {"at": ""} == {
        "is": "open",
        "rid": first,
        "at": "",
        "fence": begun.lease.fence,
    }
    second = begun.ask("intend", key="k", over=first)
    assert second["is"] == "go"
    assert begun.ask("intend", key="k", over=first)["is"] == "open"
    with pytest.raises(LeaseLost):
        begun.ask("record", key="k", rid=first, outcome=1)
    begun.ask("record", key="k", rid=second["rid"], outcome=1)
    assert begun.ask("intend", key="k", over=first) == {"is": "done", "outcome": 1}


def test_what_was_done_stays_done(begun: Begun) -> None:
    """Its intent sent again is answered with the outcome, its own attempt takes it back no more, nor says it twice."""
    rid = begun.ask("intend", key="k")["rid"]
    begun.ask("record", key="k", rid=rid, outcome=1, how="check")
    answer = begun.heart.store.call("effect", "intend", "t", begun.lease.fence, "k", rid, "", "", "", 9)
    assert answer == [b"done", b"1"]
    with pytest.raises(LeaseLost):
        begun.ask("withdraw", key="k", rid=rid)
    begun.heart.client.hdel(keys.task("t"), "fence")
    with pytest.raises(Refused, match="no open effect"):
        effects.say_done(begun.heart.store, "t", "k", "2", "me")
    (one,) = effects.of_task(begun.heart.store, "t")
    assert (one.outcome, one.who) == ("1", "check")


def test_a_task_has_so_many_keys_and_no_more(begun: Begun) -> None:
    """Known ones go on."""

    def intend(key: str, rid: str) -> bytes:
        word: bytes = begun.heart.store.call("effect", "intend", "t", begun.lease.fence, key, rid, "", "", "", 2)[0]
        return word

    assert [intend(key, key) for key in ("a", "b", "c", "a")] == [b"go", b"go", b"full", b"go"]


def test_who_lost_its_lease_begins_nothing(begun: Begun) -> None:
    """Compared in the very step that would write."""
    begun.heart.client.hset(keys.task("t"), "fence", "2-other")
    for op in ("intend", "record", "withdraw"):
        with pytest.raises(LeaseLost):
            begun.ask(op, key="k", rid="r", outcome=1)
    assert not begun.heart.client.exists(keys.effects("t"), keys.UNCONFIRMED)


def test_a_stranger_in_its_place_is_a_store_that_is_away(begun: Begun) -> None:
    """Class infrastructure, for whoever mends it; and nothing was written."""
    begun.heart.client.set(keys.effects("t"), "stranger")
    with pytest.raises(RedisUnavailable, match="nothing was written"):
        begun.ask("intend", key="k")
    assert [one.rule for one in Audit(begun.heart.store).run().violations] == ["wrong_type"]


def test_a_row_that_is_none_stops_that_key_alone(begun: Begun) -> None:
    """It is not taken for absent, which would repeat the effect; lists pass over it."""
    begun.ask("intend", key="fine")
    begun.heart.client.hset(keys.effects("t"), "k", "junk")
    with pytest.raises(RedisUnavailable, match="row that is none"):
        begun.ask("intend", key="k")
    broken = {"at": 1, "fence": "f", "rid": "r", "done_at": 1}
    for name, more in (("j", {"outcome": "{bad"}), ("l", {"outcome": 5}), ("m", {"done_at": float("inf")})):
        begun.heart.client.hset(keys.effects("t"), name, json.dumps({**broken, **more}))
    assert [one["key"] for one in effects.listed(begun.heart.store, "t", "")] == ["fine"]
    assert [one["key"] for one in effects.open_ones(begun.heart.store)] == ["fine"]


def test_the_audit_names_what_does_not_agree(begun: Begun) -> None:
    """An open one that is not listed, a listed one that is done, one that is nobody's."""
    told = begun.ask("intend", key="open")
    assert Audit(begun.heart.store).run().violations == []
    begun.heart.client.zrem(keys.UNCONFIRMED, "t open")
    begun.heart.client.zadd(keys.UNCONFIRMED, {"t never": 1})
    found = sorted((one.rule, one.detail) for one in Audit(begun.heart.store).run().violations)
    assert found == [
        ("effect_listed", "effect 'never' is gone and listed as unconfirmed"),
        ("effect_listed", "effect 'open' is open and not listed as unconfirmed"),
    ]
    begun.heart.client.zrem(keys.UNCONFIRMED, "t never")
    begun.ask("record", key="open", rid=told["rid"], outcome=None)
    assert Audit(begun.heart.store).run().violations == []
    begun.heart.client.rename(keys.effects("t"), keys.effects("gone"))
    assert [one.rule for one in Audit(begun.heart.store).run().violations] == ["orphan_rows"]


def test_what_humans_may_not_say(begun: Begun) -> None:
    """Of a task that somebody holds, of an effect that is none, of no task."""
    store = begun.heart.store
    begun.ask("intend", key="k")
    for say in (lambda: effects.say_done(store, "t", "k", "1", "me"), lambda: effects.say_absent(store, "t", "k")):
        with pytest.raises(Refused, match="being worked on"):
            say()
    begun.heart.client.hdel(keys.task("t"), "fence")
    with pytest.raises(Refused, match="no open effect"):
        effects.say_done(store, "t", "other", "1", "me")
    with pytest.raises(UnknownTask):
        effects.say_absent(store, "nobody", "k")
    effects.say_done(store, "t", "k", json.dumps({"a": 1}), "me")
    assert [(one.who, one.outcome) for one in effects.of_task(store, "t")] == [("me", '{"a": 1}')]


@pytest.mark.parametrize("key", ["", 5, None, "x" * 513, "\ud800"])
def test_what_is_no_key(begun: Begun, key: Any) -> None:
    """Refused with a sentence, whoever wrote to the report."""
    with pytest.raises(BadInput, match="is no key"):
        begun.ask("intend", key=key)
