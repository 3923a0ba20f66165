"""`audit --repair`: what is only shown or listed is put right, once, and what is evidence is left to a human."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from proofq.policies import audit as rules
from proofq.policies import lifecycle, mending
from proofq.workers import audit as walks
from proofq.workers import keys
from proofq.workers.audit import Audit
from proofq.workers.door import Door, Event
from proofq.workers.followers import Followers
from proofq.workers.repair import Repair, Repaired
from proofq.workers.scripts import Argument
from proofq.workers.store import Store
from tests.commands import Project
from tests.heart import HOST, QUEUE, VERDICT, Heart, birth
from tests.servers import PrivateServer

STATES = ["queued", "leased", "running", "claimed_done", "verified", "deferred", "held", "failed", "cancelled"]
DOCS = (Path(__file__).parents[2] / "docs" / "audit-repair.md").read_text()


def _bring(heart: Heart, state: str) -> None:
    """Task t in that state, and one beside it."""
    from proofq.policies.failure import Failure

    heart.enlist("o")
    heart.store.enqueue(birth("t"))
    failed = {"deferred": "network", "held": "auth", "failed": "timeout"}
    match state:
        case "queued":
            pass
        case "leased" | "running" | "claimed_done":
            {"leased": heart.held, "running": heart.running, "claimed_done": heart.claimed}[state]()
        case "verified":
            heart.settled(heart.claimed(), Event("verify", "worker", verdict=VERDICT))
        case "cancelled":
            heart.door.apply("t", Event("cancel", "test"))
        case _:
            failure = Failure(failed[state], "for a reason", fingerprint="f")
            heart.settled(heart.running(), Event("failed", "worker", failure=failure))
    heart.store.enqueue(birth("u"))
    assert heart.store.read("t").state == state


def _repaired(heart: Heart) -> Repaired:
    return Repair(heart.store, heart.door).run()


def _mends(heart: Heart) -> list[str]:
    return [crumb.who for crumb in heart.store.peek("t").crumbs if crumb.event == "mend"]


@dataclass(frozen=True)
class Damage:
    """What is done to task t in a state, and the rules that are broken then."""

    name: str
    state: str
    act: Callable[[Any], object]
    rules: frozenset[str]

    def __str__(self) -> str:
        return f"{self.name}-{self.state}"


def _no_view(client: Any) -> None:
    for key in (keys.rq_queue(QUEUE), *(keys.rq_registry(one, QUEUE) for one in keys.RQ_REGISTRY)):
        client.delete(key)


def _all(client: Any) -> None:
    _no_view(client)
    client.delete(keys.DUE, keys.AGES, keys.rq_job("t"), keys.states("work"))


def _in_each(name: str, states: Sequence[str], act: Callable[[Any], object], rule: str) -> list[Damage]:
    return [Damage(name, state, act, frozenset({rule})) for state in states]


ENDS = ["verified", "failed", "cancelled"]
CANCELED = keys.rq_registry("canceled", QUEUE)
DAMAGES = [
    *_in_each("counts", STATES, lambda c: c.zrem(keys.states("work"), "t"), "counted_as"),
    *_in_each("tasks", STATES, lambda c: c.zrem(keys.TASKS, "t"), "lists"),
    *_in_each("job", STATES, lambda c: c.delete(keys.rq_job("t")), "rq_job"),
    *_in_each("status", STATES, lambda c: c.hset(keys.rq_job("t"), "status", "x"), "rq_job"),
    *_in_each("twice", STATES, lambda c: c.rpush(keys.rq_queue(QUEUE), "t"), "rq_place"),
    *_in_each(
        "elsewhere", [one for one in STATES if one != "cancelled"], lambda c: c.zadd(CANCELED, {"t": 1}), "rq_place"
    ),
    *_in_each("result", ENDS, lambda c: c.delete(keys.rq_results("t")), "rq_result"),
    *_in_each("ends", ENDS, lambda c: c.delete(*c.keys(f"{keys.ENDED}*")), "ended_as"),
    *_in_each("ends", ["queued"], lambda c: c.zadd(keys.ended("failed"), {"t": 5}), "ended_as"),
    *_in_each("ages", ["queued"], lambda c: c.delete(keys.AGES), "lists"),
    *_in_each("ages", ["running"], lambda c: c.zadd(keys.AGES, {"t": 5}), "lists"),
    *_in_each("due", ["deferred"], lambda c: c.delete(keys.DUE), "lists"),
    *_in_each("lease", ["running"], lambda c: c.delete(keys.leases("o")), "lease_agrees"),
    *_in_each("fence", ["running"], lambda c: c.hset(keys.leases("o"), "t", "9-x"), "lease_agrees"),
    *_in_each("view", ["failed"], _no_view, "rq_place"),
    Damage("all", "deferred", _all, frozenset({"rq_place", "rq_job", "lists", "counted_as"})),
]


@pytest.mark.parametrize("damage", DAMAGES, ids=str)
def test_what_is_shown_or_listed_is_put_right(redis_client: redis.Redis, damage: Damage) -> None:
    """Each damage is found by its rules, put right with one breadcrumb, and the task is as it was; once."""
    heart = Heart(redis_client)
    _bring(heart, damage.state)
    row = heart.client.hgetall(keys.task("t"))
    damage.act(heart.client)
    found = {one.rule for one in Audit(heart.store).run().violations if one.subject == "t"}
    assert found == damage.rules
    done = _repaired(heart)
    assert done.violations == []
    assert {one.rule for one in done.repaired if one.subject == "t"} == damage.rules
    assert _mends(heart) == ["audit"]
    assert heart.client.hgetall(keys.task("t")) == row
    crumbs = heart.client.llen(keys.crumbs("t"))
    again = _repaired(heart)
    assert (again.repaired, again.violations) == ([], [])
    assert heart.client.llen(keys.crumbs("t")) == crumbs


@pytest.mark.parametrize(("field", "value"), [("trial", "1"), ("ended_at", "5"), ("after_open", "[]")])
def test_a_field_of_another_state_is_dropped(redis_client: redis.Redis, field: str, value: str) -> None:
    """As the step that entered the state would have."""
    heart = Heart(redis_client)
    _bring(heart, "queued")
    row = heart.client.hgetall(keys.task("t"))
    heart.client.hset(keys.task("t"), field, value)
    assert "stale_field" in {one.rule for one in Audit(heart.store).task("t")}
    done = _repaired(heart)
    if field == "after_open":
        # What it waits for contradicts what it was asked to: that is for a human.
        assert {one.rule for one in done.violations} == {"after", "stale_field"}
        return
    assert done.violations == []
    assert heart.client.hgetall(keys.task("t")) == row


def test_a_task_nobody_could_take_over_is(redis_client: redis.Redis) -> None:
    """Its owner is unknown: it is known again, silent in time, and a reaper may take the lease then."""
    heart = Heart(redis_client)
    _bring(heart, "running")
    task = heart.store.read("t")
    heart.client.delete(keys.OWNERS, keys.owner("o"), keys.leases("o"))
    assert {one.rule for one in Audit(heart.store).task("t")} == {"lease_agrees"}
    left = _repaired(heart)
    assert Audit(heart.store).task("t") == []
    assert {one.rule for one in left.violations} <= {"owner_row"}
    heart.enlist("r")
    heart.client.zadd(keys.OWNERS, {"o": 1})
    assert heart.store.reap(task, "o", "r", slot="x", request="x", death=True, reason="silent", who="r") is not None


def test_who_waits_for_nothing_that_will_come(redis_client: redis.Redis) -> None:
    """Forgotten by what it waits for: told after all. What it waits for is gone: it expires, and says so."""
    heart = Heart(redis_client)
    heart.enlist("o")
    for name in ("p", "q"):
        heart.store.enqueue(birth(name))
    heart.store.enqueue(birth("t", after=["p"]))
    heart.store.enqueue(birth("v", after=["q"]))
    heart.client.delete(keys.followers("p"), keys.followers("q"))
    heart.settled(heart.claimed(), Event("verify", "worker", verdict=VERDICT))
    heart.client.delete(*(f(x) for f in (keys.task, keys.crumbs, keys.attempts, keys.rq_job) for x in "q"))
    heart.client.zrem(keys.TASKS, "q")
    heart.client.zrem(keys.AGES, "q")
    heart.client.zrem(keys.states("work"), "q")
    heart.client.lrem(keys.rq_queue(QUEUE), 0, "q")
    done = _repaired(heart)
    assert done.violations == []
    Followers(heart.store, heart.door, "reaper").tell(heart.store.watch(HOST).followed)
    assert heart.store.read("t").state == "queued"
    expired = heart.store.read("v")
    assert (expired.state, heart.events("v")[-1]) == ("expired", "expire")
    assert "task q, which goes before it, is not there any more" in str(expired.failure)
    assert heart.store.peek("v").crumbs[-1].who == "audit"
    assert _repaired(heart).repaired == []


def test_ids_where_they_do_not_belong(redis_client: redis.Redis) -> None:
    """They leave lists, leases and registries; a job of plain RQ's and an id in a queue are not ours to forget."""
    heart = Heart(redis_client)
    _bring(heart, "queued")
    heart.enlist("other")
    heart.client.sadd(keys.RQ_QUEUES, keys.rq_queue("work.b"))
    heart.client.zadd(keys.rq_registry("finished", "work.b"), {"t": 1, "nobody": 1, "plain": 1})
    heart.client.hset(keys.rq_job("plain"), "data", "x")
    heart.client.zadd(keys.states("work"), {"nobody": 1})
    heart.client.zadd(keys.ended("failed"), {"nobody": 1})
    heart.client.hset(keys.leases("other"), "t", "1-a")
    heart.client.rpush(keys.rq_queue(QUEUE), "nobody")
    done = _repaired(heart)
    assert {one.rule for one in done.repaired} == {"orphan_rows", "wrong_queue", "lease_stale"}
    left = sorted(one.detail for one in done.violations)
    assert left == ["it holds nobody, which is no task of ours", "it holds plain, which is no task of ours"]
    assert set(_mends(heart)) == {"audit"}
    assert heart.client.zrange(keys.rq_registry("finished", "work.b"), 0, -1) == [b"plain"]
    assert heart.client.lrange(keys.rq_queue(QUEUE), 0, -1) == [b"t", b"u", b"nobody"]
    assert _repaired(heart).repaired == []


EVIDENCE = {
    "crumb_fold": lambda c: c.hset(keys.task("t"), "state", "held"),
    "crumb_chain": lambda c: c.lpop(keys.crumbs("t")),
    "counted_bound": lambda c: c.hset(keys.task("t"), "counted", "2"),
    "attempt_records": lambda c: c.delete(keys.attempts("t")),
    "missing_field": lambda c: c.hdel(keys.task("t"), "failure"),
    "task_row": lambda c: c.hset(keys.task("t"), "inputs", "junk"),
}


@pytest.mark.parametrize("rule", EVIDENCE)
def test_evidence_is_left_to_a_human(redis_client: redis.Redis, rule: str) -> None:
    """What the task itself or its breadcrumbs say is not written anew: it stays, named, however often it is asked."""
    heart = Heart(redis_client)
    _bring(heart, "failed")
    EVIDENCE[rule](heart.client)
    for _ in range(2):
        done = _repaired(heart)
        assert rule in {one.rule for one in done.violations}
    crumbs = heart.client.llen(keys.crumbs("t"))
    _repaired(heart)
    assert heart.client.llen(keys.crumbs("t")) == crumbs


def test_a_strangers_key_is_never_written_over(redis_client: redis.Redis) -> None:
    """A key of another type is named, and the rest is put right around it."""
    heart = Heart(redis_client)
    _bring(heart, "queued")
    heart.client.rename(keys.AGES, "ages")
    heart.client.set(keys.AGES, "stranger")
    heart.client.zrem(keys.states("work"), "t")
    done = _repaired(heart)
    assert "wrong_type" in {one.rule for one in done.violations}
    assert heart.client.get(keys.AGES) == b"stranger"
    heart.client.rename("ages", keys.AGES)
    assert _repaired(heart).violations == []


def test_a_task_that_moves_meanwhile_is_left_as_it_is(redis_client: redis.Redis) -> None:
    """Leased between the look and the repair: nothing is written by what the look saw."""
    heart = Heart(redis_client)
    _bring(heart, "queued")
    heart.client.zrem(keys.states("work"), "t")

    class Overtaken:
        """A runner that has the task leased just before it is mended."""

        def __call__(self, name: str, arguments: Sequence[Argument]) -> list[Any]:
            if name == "mend" and heart.store.read("t").state == "queued":
                assert heart.held().task.id == "t"
            return heart.runner(name, arguments)

    store = Store(heart.client, Overtaken(), heart.clock)
    assert Repair(store, Door(store, heart.door.limits)).run().violations == []
    assert heart.events() == ["enqueue", "lease"]
    assert heart.client.hget(keys.rq_job("t"), "status") == b"started"


def test_every_rule_says_whether_it_is_repaired() -> None:
    """Each repair is of a rule that there is, and docs/audit-repair.md names each with what is done."""
    assert mending.REPAIRS.keys() <= rules.RULES.keys() | walks.RULES.keys()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", DOCS, re.MULTILINE))
    assert rows == {rule: how for rule, (_, how) in mending.REPAIRS.items()}
    assert lifecycle.next_state("verified", "mend") == "verified"


def test_the_command(tmp_path: Path, redis_server: PrivateServer, redis_client: Any) -> None:
    """Exit 0 once nothing is left, 1 while something is; the document names what was done and what is left."""
    project = Project(tmp_path / "p", redis_server.url)
    task_id = project.enqueue()
    redis_client.zrem(keys.states("work"), task_id)
    found = project("audit", "--json")
    assert (found.code, len(found.document["violations"])) == (1, 1)
    done = project("audit", "--repair", "--json")
    assert (done.code, done.document["violations"]) == (0, [])
    assert [(one["rule"], one["subject"], one["how"]) for one in done.document["repaired"]] == [
        ("counted_as", task_id, "it is counted under its state")
    ]
    assert "mend" in project("show", task_id).stdout
    assert project("why", task_id).code == 0
    redis_client.hset(keys.task(task_id), "counted", "7")
    left = project("audit", "--repair")
    assert left.code == 1
    assert "counted_bound" in left.stdout
