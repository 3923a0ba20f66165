"""Retention: ended tasks go when they are old or too many, whole and in one step; nothing else ever does."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from rq.exceptions import NoSuchJobError
from rq.job import Job

from proofq.policies import lifecycle, retention
from proofq.policies.failure import Failure
from proofq.policies.retention import Retention
from proofq.workers import keys, known_agents, producer, project
from proofq.workers.audit import Audit
from proofq.workers.door import Event
from proofq.workers.errors import BadInput, DeclarationError
from proofq.workers.producer import Request
from proofq.workers.purge import BATCH, BATCHES, BESIDE, Purger
from proofq.workers.scripts import DamagedKey
from proofq.workers.session import Session
from tests.commands import TOML, Project
from tests.heart import VERDICT, Heart, birth
from tests.workbench import Bench

NOTE = {"text": "hi", "out": "a.txt"}
TIMES = [name for name in retention.NAMES if name.endswith("_s")]
AT_ONCE = Retention(**dict.fromkeys(TIMES, 0))
FOR_EVER = Retention(**dict.fromkeys(TIMES, 315_360_000), max_mib=0)


@pytest.fixture
def site(project: Project) -> Project:
    """The name that `project` has beside the module of that name."""
    return project


def _enqueue(opened: Session, **request: Any) -> str:
    known = known_agents.find(opened, "note")
    return producer.enqueue(opened, known, NOTE, Request(**request), "test").id


def _ended(heart: Heart, name: str) -> None:
    heart.store.enqueue(birth(name))
    heart.settled(heart.claimed(), Event("verify", "worker", verdict=VERDICT))


def test_effects_go_with_their_task(redis_client: redis.Redis) -> None:
    """Their records, and the list of those that nobody has confirmed."""
    heart = Heart(redis_client)
    heart.enlist("o")
    heart.store.enqueue(birth("t"))
    lease = heart.running()
    for key in ("a b", "c"):
        assert heart.store.call("effect", "intend", "t", lease.fence, key, "r", "", "", "", 9) == [b"go"]
    heart.settled(lease, Event("failed", "worker", failure=Failure("timeout", "late")))
    assert heart.client.zcard(keys.UNCONFIRMED) == 2
    assert Purger(heart.store, AT_ONCE).tick().count == 1
    assert not heart.client.exists(keys.effects("t"), keys.UNCONFIRMED)


@pytest.mark.parametrize("state", lifecycle.STATES)
def test_only_ended_tasks_go(opened: Session, state: str) -> None:
    """With nothing kept, a task goes with every key that names it if it has ended, and is not touched otherwise."""
    bench = Bench(opened, "note")
    before = set(opened.store.client.keys("*"))
    task_id = _enqueue(opened)
    bench.to(task_id, state)
    held = {key: opened.store.client.dump(key) for key in opened.store.client.keys("*")}
    done = Purger(opened.store, AT_ONCE).run()
    if state not in lifecycle.TERMINAL:
        assert done.count == 0
        assert {key: opened.store.client.dump(key) for key in opened.store.client.keys("*")} == held
        return
    assert done.counts == {state: 1}
    left = set(opened.store.client.keys("*")) - before
    assert not [key for key in left if task_id in key.decode()]
    assert left <= {keys.RQ_QUEUES.encode(), keys.GRANTS.encode() + b"bench"}
    assert Audit(opened.store).run().violations == []
    with pytest.raises(NoSuchJobError):
        Job.fetch(task_id, connection=opened.store.client)


def test_each_state_has_its_own_time(opened: Session) -> None:
    """What has ended longer ago than its state is kept goes, the rest stays; the defaults are 7 and 30 days."""
    bench = Bench(opened, "note")
    ends = {}
    for state in sorted(lifecycle.TERMINAL):
        ends[state] = _enqueue(opened)
        bench.to(ends[state], state)
    assert set(Retention().keep_ms) == lifecycle.TERMINAL
    day_ms = 86_400_000
    for state, kept_ms in Retention().keep_ms.items():
        assert kept_ms == (7 if state in {"verified", "finished_unproven", "cancelled"} else 30) * day_ms
    now = opened.now_ms()
    for days, gone in ((6.9, 0), (7.1, 3), (29.9, 3), (30.1, 6)):
        for state, task_id in ends.items():
            if opened.store.client.exists(keys.task(task_id)):
                opened.store.client.zadd(keys.ended(state), {task_id: now - round(days * day_ms)})
                opened.store.client.hset(keys.task(task_id), "ended_at", now - round(days * day_ms))
        Purger(opened.store, Retention()).run()
        assert 6 - len(opened.store.newest(0, 9)) == gone
    assert Audit(opened.store).run().violations == []


def test_a_key_that_still_holds_keeps_its_task(opened: Session) -> None:
    """Deleted, the same request would make a second task; once the key has lapsed both go in one step."""
    bench = Bench(opened, "note")
    task_id = _enqueue(opened, key="k")
    bench.verify(task_id)
    other = _enqueue(opened)
    bench.verify(other)
    assert Purger(opened.store, AT_ONCE).run().count == 1
    assert opened.store.newest(0, 9) == [task_id]
    assert _enqueue(opened, key="k") == task_id
    key = opened.store.client.hget(keys.task(task_id), "key").decode()
    opened.store.client.hset(key, "until", 1)
    assert Purger(opened.store, AT_ONCE).run().count == 1
    assert opened.store.client.keys(f"{keys.KEY}*") == []
    assert _enqueue(opened, key="k") != task_id


def test_the_key_of_a_later_task_stays(opened: Session) -> None:
    """A lapsed key that names another task by now is that one's."""
    bench = Bench(opened, "note")
    first = _enqueue(opened, key="k")
    bench.verify(first)
    key = opened.store.client.hget(keys.task(first), "key").decode()
    opened.store.client.hset(key, "until", 1)
    second = _enqueue(opened, key="k")
    assert Purger(opened.store, AT_ONCE).run().count == 1
    assert opened.store.client.hget(key, "id").decode() == second


def test_who_is_waited_for_stays(opened: Session) -> None:
    """An ended task goes only once its followers were told."""
    bench = Bench(opened, "note")
    first = _enqueue(opened)
    second = _enqueue(opened, after=[first])
    bench.to(first, "failed")
    assert Purger(opened.store, AT_ONCE).run().count == 0
    opened.store.client.delete(keys.followers(first))
    assert Purger(opened.store, AT_ONCE).run().count == 1
    assert opened.store.read(second).state == "deferred"


def test_the_oldest_go_when_all_take_too_much(redis_client: redis.Redis) -> None:
    """Ends are kept up to max_mib; measured as Redis counts it, and no more is deleted than that needs."""
    heart = Heart(redis_client)
    heart.enlist("o")
    text = "x" * 200_000
    for number in range(10):
        _ended(heart, f"t{number}")
        heart.client.hset(keys.task(f"t{number}"), "inputs", json.dumps({"x": text}))
    purger = Purger(heart.store, Retention(max_mib=1))
    assert 2_000_000 < purger.kept_bytes() < 2_500_000
    dry = purger.run(dry=True)
    assert len(heart.store.newest(0, 99)) == 10
    done = purger.run()
    assert (done.counts, done.count) == (dry.counts, dry.count)
    assert sorted(heart.store.newest(0, 99)) == [f"t{number}" for number in range(6, 10)]
    assert purger.kept_bytes() < 1024 * 1024
    assert purger.run().count == 0
    assert Purger(heart.store, FOR_EVER).run().count == 0


def test_a_dry_run_counts_each_once(redis_client: redis.Redis) -> None:
    """What is too old and what is too much are not counted twice."""
    heart = Heart(redis_client)
    heart.enlist("o")
    for number in range(5):
        _ended(heart, f"t{number}")
    assert Purger(heart.store, Retention(verified_s=0, max_mib=1)).run(dry=True).count == 5
    assert len(heart.store.newest(0, 9)) == 5


def test_work_is_bounded(redis_client: redis.Redis) -> None:
    """One script looks at 50 tasks at most, one look sends 20 of them; more is done at the next look, at once."""
    heart = Heart(redis_client)
    heart.enlist("o")
    for number in range(BATCH * 3 + 1):
        _ended(heart, f"t{number}")
    purger = Purger(heart.store, AT_ONCE)
    assert (purger.run(2).count, purger.run(1).more) == (2 * BATCH, True)
    assert (purger.tick().count, purger.tick().count) == (1, 0)
    assert BATCHES * BATCH == 1000


def test_damaged_rows_are_passed_over(redis_client: redis.Redis) -> None:
    """One that cannot be deleted whole is left to the audit; those behind it go. A broken list stops the step."""
    heart = Heart(redis_client)
    heart.enlist("o")
    for number in range(3):
        _ended(heart, f"t{number}")
    heart.client.set(keys.crumbs("t0"), "stranger")
    assert Purger(heart.store, AT_ONCE).run().count == 2
    heart.client.rename(keys.TASKS, "tasks")
    heart.client.set(keys.TASKS, "stranger")
    heart.client.delete(keys.crumbs("t0"))
    with pytest.raises(DamagedKey, match=keys.TASKS):
        Purger(heart.store, AT_ONCE).run()
    assert heart.client.exists(keys.task("t0")) == 1


@pytest.mark.parametrize("state", ["queued", "running", "verified"])
def test_a_list_that_lies_deletes_nothing(redis_client: redis.Redis, state: str) -> None:
    """The task's own state decides: listed among the ends of another, it is passed over, and the audit says so."""
    heart = Heart(redis_client)
    heart.enlist("o")
    heart.store.enqueue(birth("t"))
    if state == "running":
        heart.running()
    elif state == "verified":
        heart.settled(heart.claimed(), Event("verify", "worker", verdict=VERDICT))
        heart.client.delete(keys.ended("verified"))
    heart.client.zadd(keys.ended("failed"), {"t": 1})
    row = heart.client.hgetall(keys.task("t"))
    assert Purger(heart.store, AT_ONCE).run().count == 0
    assert heart.client.hgetall(keys.task("t")) == row
    assert "ended_as" in {one.rule for one in Audit(heart.store).task("t")}


def test_a_replayed_task_is_not_old(redis_client: redis.Redis) -> None:
    """A replay takes it off the ends; only its next end counts."""
    heart = Heart(redis_client)
    heart.store.enqueue(birth("t"))
    assert heart.door.apply("t", Event("cancel", "test")).ok
    assert heart.door.apply("t", Event("replay", "test")).ok
    assert heart.client.exists(keys.ended("cancelled")) == 0
    assert Purger(heart.store, AT_ONCE).run().count == 0


def test_what_a_finished_task_takes(redis_client: redis.Redis) -> None:
    """At most 3 KiB of Redis' memory for a small task, breadcrumbs, result and every list included."""
    heart = Heart(redis_client)
    heart.enlist("o")
    _ended(heart, "warm")
    before = int(heart.client.info("memory")["used_memory"])
    for number in range(400):
        _ended(heart, f"{number:016x}")
    each = (int(heart.client.info("memory")["used_memory"]) - before) / 400
    assert each < 3 * 1024
    purger = Purger(heart.store, AT_ONCE)
    assert 0.75 < purger.kept_bytes() / 401 / each < 1.25
    assert each > BESIDE


def test_the_command(site: Project, opened: Session) -> None:
    """`proofq purge --dry-run` deletes nothing and says as much as `proofq purge` does."""
    (site.root / "proofq.toml").write_text(TOML + "\n[retention]\ncancelled_s = 0\n")
    bench = Bench(opened, "note")
    for _ in range(2):
        bench.to(_enqueue(opened), "cancelled")
    kept = _enqueue(opened)
    bench.verify(kept)
    dry = site("purge", "--dry-run", "--json").document
    assert (dry["dry_run"], dry["count"], dry["states"]) == (True, 2, {"cancelled": 2})
    assert site("purge").stdout.startswith("cancelled: 2\n2 ended tasks deleted, about ")
    assert opened.store.newest(0, 9) == [kept]
    assert site("purge", "--json").document["count"] == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("verified_s = -1", "from 0 to"),
        ("verified_s = true", "a number of seconds"),
        ("verified_s = nan", "from 0 to"),
        ("max_mib = 1.5", "a whole number"),
        ("done_s = 1", "unknown key 'done_s'"),
    ],
)
def test_what_is_no_retention_is_refused(site: Project, line: str, said: str) -> None:
    """With file and line."""
    (site.root / "proofq.toml").write_text(f"[retention]\n{line}\n")
    with pytest.raises(DeclarationError, match=rf"proofq.toml:2: \[retention\]: .*{said}"):
        project.load(site.root, environ={})


def test_a_variable_goes_before_the_file(site: Project) -> None:
    """PROOFQ_RETENTION_<NAME>, checked like the table."""
    (site.root / "proofq.toml").write_text("[retention]\nverified_s = 5\nmax_mib = 3\n")
    found = project.load(site.root, environ={"PROOFQ_RETENTION_VERIFIED_S": "60"}).settings.retention
    assert (found.verified_s, found.max_mib, found.failed_s) == (60, 3, 30 * 86400)
    with pytest.raises(BadInput, match="PROOFQ_RETENTION_MAX_MIB"):
        project.load(site.root, environ={"PROOFQ_RETENTION_MAX_MIB": "much"})


def test_rq_sees_nothing_of_it(opened: Session) -> None:
    """No registry and no queue of RQ's keeps the id."""
    bench = Bench(opened, "note")
    for state in ("verified", "failed", "cancelled"):
        bench.to(_enqueue(opened), state)
    Purger(opened.store, AT_ONCE).run()
    for registry in keys.RQ_REGISTRY.values():
        assert opened.store.client.keys(f"{registry}*") == []
