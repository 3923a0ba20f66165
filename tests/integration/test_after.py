"""`after`: a task runs once those that go before it have ended in success, and expires with them otherwise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import proofq
from proofq.policies import lifecycle
from proofq.policies.settlement import Limits
from proofq.workers import keys, known_agents, producer, task_view, why
from proofq.workers.audit import Audit
from proofq.workers.door import Door, Event
from proofq.workers.errors import BadInput
from proofq.workers.followers import BATCH, BATCHES, Followers
from proofq.workers.producer import Enqueued, Request
from proofq.workers.session import Session
from tests.commands import Project
from tests.heart import AGENT, Heart, birth
from tests.waiting import until
from tests.workbench import Bench

NOTE = {"text": "hi", "out": "a.txt"}


@pytest.fixture
def bench(opened: Session) -> Bench:
    """A live owner."""
    return Bench(opened, "note")


def _enqueue(opened: Session, after: Any = (), **request: Any) -> Enqueued:
    known = known_agents.find(opened, "note")
    return producer.enqueue(opened, known, NOTE, Request(after=after, **request), "test")


def _state(opened: Session, task_id: str) -> str:
    return opened.store.read(task_id).state


def _look(opened: Session) -> None:
    """What a reaper does about followers at each look."""
    followers = Followers(opened.store, Door(opened.store, Limits()), "reaper")
    while ended := opened.store.watch("nowhere").followed:
        followers.tell(ended)


def _sound(opened: Session) -> None:
    assert Audit(opened.store).run().violations == []


def test_it_waits_and_is_queued_in_the_very_step(opened: Session, bench: Bench) -> None:
    """Deferred with what it waits for; the step that verifies the first queues the second."""
    first = _enqueue(opened).id
    second = _enqueue(opened, [first])
    assert second.state == "deferred"
    shown = task_view.show(opened.store, second.id, Path("/"))
    assert shown["waiting_for"] == {"what": "after", "name": first, "until": None, "names": [first]}
    assert (shown["after"], shown["not_before"]) == ([first], None)
    said = why.why(opened.store, second.id)
    assert f"for task {first} (queued)" in said.text
    assert opened.store.watch("x").due == []
    _sound(opened)
    bench.verify(first)
    assert _state(opened, second.id) == "queued"
    assert opened.store.snapshot(second.id).crumbs[-1].reason == f"task {first} is verified"
    assert "nothing else goes before it" in why.why(opened.store, second.id).text
    _sound(opened)
    bench.verify(second.id)
    _sound(opened)


def test_an_unproven_end_is_a_success_too(opened: Session, bench: Bench) -> None:
    """An agent declared unproven has no better end, so who waits for it goes on."""
    first = _enqueue(opened).id
    second = _enqueue(opened, [first]).id
    bench.to(first, lifecycle.FINISHED_UNPROVEN)
    assert _state(opened, second) == "queued"


def test_it_waits_for_all(opened: Session, bench: Bench) -> None:
    """Each success is a breadcrumb, the last one queues it; one that was met before does not count."""
    done = _enqueue(opened).id
    bench.verify(done)
    first = _enqueue(opened).id
    bench.claim(first)
    second = _enqueue(opened).id
    last = _enqueue(opened, [done, first, second, first]).id
    assert opened.store.read(last).after_open == (first, second)
    bench.verify(second)
    assert (_state(opened, last), opened.store.read(last).after_open) == ("deferred", (first,))
    _sound(opened)


def test_all_met_before(opened: Session, bench: Bench) -> None:
    """It is a task like any other, at once; with a time it waits for that."""
    done = _enqueue(opened).id
    bench.verify(done)
    later = datetime.now(UTC) + timedelta(hours=1)
    assert _enqueue(opened, [done]).state == "queued"
    assert _enqueue(opened, [done], not_before=later).state == "deferred"
    assert len(opened.store.client.zrange(keys.DUE, 0, -1)) == 1
    _sound(opened)


def test_a_time_and_a_task(opened: Session, bench: Bench) -> None:
    """Both are waited for, whichever comes last."""
    first = _enqueue(opened).id
    later = datetime.now(UTC) + timedelta(hours=1)
    second = _enqueue(opened, [first], not_before=later).id
    assert opened.store.client.zscore(keys.DUE, second) is None
    bench.verify(first)
    assert _state(opened, second) == "deferred"
    assert task_view.show(opened.store, second, Path("/"))["waiting_for"]["what"] == "time"
    assert opened.store.client.zscore(keys.DUE, second) == round(later.timestamp() * 1000)
    assert "waits for its time" in why.why(opened.store, second).text
    _sound(opened)
    assert opened.door.apply(second, Event("due", "test")).ok
    _sound(opened)


@pytest.mark.parametrize("end", ["failed", "quarantined", "cancelled", "expired"])
def test_it_expires_with_it(opened: Session, bench: Bench, end: str) -> None:
    """An end without success expires who waits, and who waits for those, with the class of the cause."""
    first = _enqueue(opened).id
    second = _enqueue(opened, [first]).id
    third = _enqueue(opened, [second]).id
    bench.to(first, end)
    _look(opened)
    task = opened.store.read(second)
    cause = opened.store.read(first).failure
    assert (task.state, _state(opened, third)) == ("expired", "expired")
    assert cause is not None
    assert task.failure is not None
    assert task.failure.kind == cause.kind
    assert f"task {first}, which goes before it, is {end}" in task.failure.reason
    said = why.why(opened.store, second)
    assert said.rule == "expire.after"
    assert f"`proofq replay {first}`, then `proofq replay {second}`" in said.next
    assert opened.store.client.exists(keys.followers(first), keys.followers(second), keys.FOLLOWING) == 0
    _sound(opened)


def test_replaying_what_went_before(opened: Session, bench: Bench) -> None:
    """Who expired is moved by nobody else's replay; replayed after it, it waits again, and runs once that is done."""
    first = _enqueue(opened).id
    second = _enqueue(opened, [first]).id
    bench.to(first, "failed")
    _look(opened)
    refused = opened.door.apply(second, Event("replay", "test"))
    assert not refused.ok
    assert f"task {first}, which goes before it, is failed; replay that one first" in refused.reason
    assert opened.door.apply(first, Event("replay", "test")).ok
    assert _state(opened, second) == "expired"
    again = opened.door.apply(second, Event("replay", "test"))
    assert (again.ok, again.state, again.event) == (True, "deferred", "replay_after")
    _sound(opened)
    bench.verify(first)
    assert _state(opened, second) == "queued"
    bench.verify(second)
    _sound(opened)


def test_replayed_after_the_success_of_the_other(opened: Session, bench: Bench) -> None:
    """Cancelled while it waited, replayed when nothing is to be waited for any more: queued."""
    first = _enqueue(opened).id
    second = _enqueue(opened, [first]).id
    assert opened.door.apply(second, Event("cancel", "test")).ok
    bench.verify(first)
    assert _state(opened, second) == "cancelled"
    again = opened.door.apply(second, Event("replay", "test"))
    assert (again.ok, again.state, again.event) == (True, "queued", "replay")
    assert opened.store.read(second).after_open == ()
    _sound(opened)


def test_no_tool_runs_it_before_its_time(opened: Session, bench: Bench) -> None:
    """An event that promotes deferred tasks is refused while it waits for another."""
    first = _enqueue(opened).id
    second = _enqueue(opened, [first]).id
    refused = opened.door.apply(second, Event("due", "rq"))
    assert (refused.ok, refused.reason) == (False, f"it waits for task {first}")
    assert _state(opened, second) == "deferred"


def test_its_own_age_counts(opened: Session) -> None:
    """It expires by its own max_age_s too, the wait included."""
    first = _enqueue(opened).id
    second = _enqueue(opened, [first], max_age_s=0.001).id
    until(lambda: second in opened.store.watch("x").aged, 20.0, "the end of its age")
    assert opened.door.apply(second, Event("expire", "test", "older than its max_age_s")).ok
    _sound(opened)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (["nobody"], "no task has the id nobody"),
        (["a b"], "the id of no task"),
        ([""], "the id of no task"),
        ([7], "the id of no task"),
        ("abc", "a list of task ids"),
        ([f"t{number}" for number in range(101)], "more than 100"),
    ],
)
def test_what_cannot_be_waited_for_is_refused(opened: Session, after: Any, said: str) -> None:
    """A sentence, and nothing is enqueued."""
    with pytest.raises(BadInput, match=said):
        _enqueue(opened, after)
    assert opened.store.newest(0, 1) == []


def test_what_would_never_come_is_refused(opened: Session, bench: Bench) -> None:
    """A task that ended without success goes before nothing."""
    first = _enqueue(opened).id
    bench.to(first, "failed")
    with pytest.raises(BadInput, match=f"task {first}.* is failed, so it would never run"):
        _enqueue(opened, [first])
    assert opened.store.newest(0, 9) == [first]


def test_no_cycle_can_be_made(opened: Session, bench: Bench) -> None:
    """A task waits only for tasks that were there before it, and a replay for no other: every chain has an end."""
    first = _enqueue(opened, key="k").id
    second = _enqueue(opened, [first]).id
    # The one way to name a later task in an earlier one's request: its key. It names the task as it stands.
    same = _enqueue(opened, [second], key="k")
    assert (same.id, same.created, opened.store.read(first).after) == (first, False, ())
    bench.to(first, "failed")
    _look(opened)
    assert opened.door.apply(first, Event("replay", "test")).ok
    assert opened.door.apply(second, Event("replay", "test")).ok
    assert opened.store.read(first).after_open == ()
    _sound(opened)


def test_many_followers(redis_client: Any) -> None:
    """The step tells sixteen, each call of a reaper a hundred at most; in the end all of them, once."""
    heart = Heart(redis_client)
    heart.enlist("o")
    heart.store.enqueue(birth("p"))
    for number in range(1300):
        heart.store.enqueue(birth(f"f{number}", after=["p"]))
    lease = heart.claimed()
    heart.settled(lease, Event("verify", "worker", verdict={"outcome": "verified", "proofs": []}))
    assert heart.client.llen(keys.rq_queue(f"work.{AGENT}")) == 16
    followers = Followers(heart.store, heart.door, "reaper")
    followers.tell(heart.store.watch("x").followed)
    assert heart.client.llen(keys.rq_queue(f"work.{AGENT}")) == 16 + BATCH * BATCHES
    while ended := heart.store.watch("x").followed:
        followers.tell(ended)
    assert heart.client.lrange(keys.rq_queue(f"work.{AGENT}"), 0, -1) == [b"f%d" % number for number in range(1300)]
    assert Audit(heart.store).run().violations == []


def test_a_damaged_follower_keeps_nobody_waiting(redis_client: Any) -> None:
    """It is passed over and told once it is whole again."""
    heart = Heart(redis_client)
    heart.enlist("o")
    heart.store.enqueue(birth("p"))
    for name in ("x", "y"):
        heart.store.enqueue(birth(name, after=["p"]))
    heart.client.rename(keys.crumbs("x"), "aside")
    heart.client.set(keys.crumbs("x"), "stranger")
    heart.settled(heart.claimed(), Event("verify", "worker", verdict={"outcome": "verified", "proofs": []}))
    assert [heart.store.read(name).state for name in ("x", "y")] == ["deferred", "queued"]
    followers = Followers(heart.store, heart.door, "reaper")
    followers.tell(heart.store.watch("x").followed)
    heart.client.rename("aside", keys.crumbs("x"))
    followers.tell(heart.store.watch("x").followed)
    assert heart.store.read("x").state == "queued"
    assert heart.store.watch("x").followed == []
    assert Audit(heart.store).run().violations == []


def test_python_and_the_command(project: Project, opened: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """`proofq.enqueue(after=[...])` takes ids and tasks, `--after` may be repeated."""
    for name, value in project.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(project.root)
    first = proofq.enqueue("note", NOTE)
    second = proofq.enqueue("note", NOTE, after=[first])
    done = project(
        "enqueue", "note", "-i", "text=a", "-i", "out=b", "--after", first.id, "--after", second.id, "--json"
    )
    assert done.document["state"] == "deferred"
    assert opened.store.read(done.document["id"]).after == (first.id, second.id)


def test_the_audit_finds_who_would_wait_for_ever(opened: Session, bench: Bench) -> None:
    """Forgotten by what it waits for, by the reapers, or left behind by a task that is gone."""
    first, second = _enqueue(opened).id, _enqueue(opened).id
    last = _enqueue(opened, [first, second]).id
    client = opened.store.client
    client.delete(keys.followers(first))
    found = Audit(opened.store).run().violations
    assert [(one.rule, one.subject, one.detail) for one in found] == [
        ("after_lost", last, f"it waits for {first}, which does not know of it")
    ]
    bench.to(second, "cancelled")
    client.delete(keys.FOLLOWING)
    assert f"{second}, which is cancelled, and nobody would say so" in Audit(opened.store).run().violations[1].detail
    client.delete(keys.task(second))
    details = [one.detail for one in Audit(opened.store).task(last)]
    assert f"it waits for {second}, which is not there" in details
