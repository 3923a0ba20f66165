"""What attempts tell of their progress is kept in their records, by the beat that is sent anyway."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
import redis

from proofq.workers import keys
from proofq.workers.owner import PROGRESS_EVERY_S, Held, Owner
from proofq.workers.scripts import Argument, Runner
from tests.heart import ISOLATION_MS, Heart, birth


class Asked:
    """A runner that counts what it was asked to run."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.names: list[str] = []

    def __call__(self, name: str, arguments: Sequence[Argument]) -> list[Any]:
        self.names.append(name)
        return self._runner(name, arguments)


def _owner(heart: Heart) -> Owner:
    return Owner(heart.store, "o", ISOLATION_MS / 1000, lambda: None, lambda task_id, fence: None)


def _record(heart: Heart, task_id: str = "t") -> dict[str, Any]:
    record: dict[str, Any] = json.loads(heart.client.hget(keys.attempts(task_id), "1"))
    return record


def _held(heart: Heart, owner: Owner, task_id: str, told: list[str]) -> Held:
    heart.store.enqueue(birth(task_id))
    held = owner.hold(heart.running())
    held.attach(lambda reason: None, lambda: (len(told), told[-1] if told else ""))
    return held


def test_a_beat_carries_it(redis_client: redis.Redis) -> None:
    """Whatever ten attempts tell, one beat is one command; what is known already is not sent again."""
    heart = Heart(redis_client)
    heart.enlist("o")
    owner = _owner(heart)
    told: dict[str, list[str]] = {f"t{n}": [] for n in range(10)}
    for task_id, said in told.items():
        _held(heart, owner, task_id, said)
    asked = heart.store._run = Asked(heart.runner)
    owner.beat()
    assert heart.runner.last[1][3] == b""
    for number, said in enumerate(told.values()):
        said += ['{"é":0}', f'{{"é":{number}}}']
    owner.beat()
    assert asked.names == ["beat", "beat"]
    assert [json.loads(_record(heart, name)["progress"]) for name in told] == [{"é": number} for number in range(10)]
    assert all(_record(heart, name)["progress_at"] > 0 for name in told)
    owner.beat()
    assert heart.runner.last[1][3] == b""


def test_once_in_a_while(redis_client: redis.Redis) -> None:
    """News that come soon after others wait; at the end of the attempt they wait no longer."""
    heart = Heart(redis_client)
    heart.enlist("o")
    owner, told = _owner(heart), ["1"]
    held = _held(heart, owner, "t", told)
    owner.beat()
    told.append("2")
    owner.beat()
    assert _record(heart)["progress"] == "1"
    assert held.news() == (2, "2")
    now_s = heart.clock.boottime()
    assert not held.may_write(now_s)
    assert held.may_write(now_s + PROGRESS_EVERY_S)


def test_only_of_what_it_holds(redis_client: redis.Redis) -> None:
    """With another's fence, or for a task it does not hold, nothing is written."""
    heart = Heart(redis_client)
    heart.enlist("o", "other")
    heart.store.enqueue(birth("t"))
    lease = heart.running("other")
    for told in ([("t", lease.fence, "1")], [("none", "1-aa", "1")], [("t", "1-bbbb", "1")]):
        assert heart.store.beat("o", ISOLATION_MS, told) is not None
    assert heart.store.beat("other", ISOLATION_MS, [("t", "1-bbbb", "1")]) is not None
    assert "progress" not in _record(heart)
    assert not heart.client.exists(keys.attempts("none"))


@pytest.mark.parametrize("damage", ["value", "record"])
def test_damage_does_not_stop_the_beat(redis_client: redis.Redis, damage: str) -> None:
    """Records that cannot be read cost the evidence and nothing else."""
    heart = Heart(redis_client)
    heart.enlist("o")
    heart.store.enqueue(birth("t"))
    lease = heart.running()
    if damage == "value":
        heart.client.delete(keys.attempts("t"))
        heart.client.set(keys.attempts("t"), "stranger")
    else:
        heart.client.hset(keys.attempts("t"), "1", "{half")
    beat = heart.store.beat("o", ISOLATION_MS, [("t", lease.fence, "1")])
    assert beat is not None
    assert beat.held == {"t": (lease.fence, False)}
    assert heart.client.zscore(keys.OWNERS, "o") == beat.now + ISOLATION_MS
