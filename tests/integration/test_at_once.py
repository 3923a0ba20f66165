"""What an attempt did at once is written at once: one step, and as if each event had been written by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import redis

from proofq.policies.failure import Failure
from proofq.policies.settlement import Limits
from proofq.workers import keys
from proofq.workers.audit import Audit
from proofq.workers.clock import SystemClock
from proofq.workers.door import Door, Event
from tests.heart import CLAIM, HOST, START, VERDICT, Heart, birth

VERIFY = Event("verify", "worker", verdict=VERDICT)
CRASH = Event("failed", "worker", failure=Failure("crash", "exit 3", fingerprint="f"))
HOLD = Event("hold", "worker", "cannot tell", Failure("infrastructure", "away"), outcome="cannot_tell")
#: What follows each other under one lease, as far as it is written in one step.
COURSES = {
    "verified": (START, CLAIM, VERIFY),
    "unproven": (START, CLAIM, Event("finish_unproven", "worker", "its own word")),
    "crashed": (START, CRASH),
    "held": (START, CLAIM, HOLD),
    "claimed": (START, CLAIM),
}


@pytest.fixture
def heart(redis_client: redis.Redis) -> Heart:
    """One owner."""
    made = Heart(redis_client)
    made.enlist("o")
    return made


def seen(heart: Heart, course: Sequence[Event], *, at_once: bool) -> dict[str, object]:
    """The task after these events, without what differs from one task to the next: times, ids and fences."""
    task_id = heart.store.enqueue(birth("one" if at_once else "each"))[1]
    lease = heart.held()
    if at_once:
        settled = heart.settled(lease, course[-1], before=course[:-1])
    else:
        for event in course:
            settled = heart.settled(lease, event)
            lease = settled.lease or lease
    peek = heart.store.peek(task_id)
    kept = {} if settled.lease is None else dict(vars(settled.lease.task))
    of_one = {"fence", "stamp_ns"}
    without = {"id", "enqueued_at", "expires_at", "fence", "started_at", "ended_at", "not_before", "0", "rids"}
    return {
        "crumbs": [(one.source, one.event, one.to, one.reason, one.attempt, one.evidence) for one in peek.crumbs],
        "row": {name: text for name, text in peek.row.items() if name not in without},
        "attempts": [
            {name: value for name, value in one.items() if name not in of_one and not name.endswith("_at")}
            for one in peek.attempts
        ],
        "kept": {name: value for name, value in kept.items() if name not in without},
        "job": (peek.job or {}).get("status"),
        "results": peek.results,
        "registries": peek.registries,
    }


@pytest.mark.parametrize("course", COURSES.values(), ids=COURSES.keys())
def test_written_at_once_it_is_the_same(heart: Heart, course: Sequence[Event]) -> None:
    """State, breadcrumbs, records, RQ's view and what the holder keeps are those of events written one by one."""
    each = seen(heart, course, at_once=False)
    heart.client.flushall()
    heart.enlist("o")
    heart.client.config_resetstat()
    assert seen(heart, course, at_once=True) == each
    assert heart.client.info("commandstats")["cmdstat_evalsha"]["calls"] == 4  # enqueue, lease, settle, peek
    assert Audit(heart.store).run().violations == []


def test_what_is_foreseen_is_what_comes(heart: Heart) -> None:
    """The task that proofs are read for before anything is written is the one that is read back afterwards."""
    heart.store.enqueue(birth("t"))
    lease = heart.held()
    before = (Event("baseline", "worker", fields={"files": [{"path": "/a"}]}), START, CLAIM)
    seen = heart.door.foreseen(lease, before).task
    heart.settled(lease, before[-1], before=before[:-1])
    written = heart.store.read("t")
    for name in ("state", "claim", "baseline", "pickups", "trial", "attempt", "inputs"):
        assert getattr(seen, name) == getattr(written, name), name
    assert seen.baseline == {"files": [{"path": "/a"}]}
    assert seen.claim == CLAIM.claim


def test_each_stands_at_its_own_time(heart: Heart) -> None:
    """What happened 5 and 2 seconds ago: its breadcrumb and its record say when, never earlier than it was."""
    heart.store.enqueue(birth("t"))
    lease, now_s = heart.held(), heart.clock.boottime()
    heart.settled(lease, VERIFY, before=(replace(START, at_s=now_s - 5), replace(CLAIM, at_s=now_s - 2)))
    peek = heart.store.peek("t")
    at = {crumb.event: crumb.at for crumb in peek.crumbs}
    assert 4990 <= at["verify"] - at["start"] <= 5000
    assert 1990 <= at["verify"] - at["claim"] <= 2000
    assert peek.attempts[0]["started_at"] == at["start"]


class Halting(SystemClock):
    """Each look at it comes a second after the one before."""

    looks = 0

    def boottime(self) -> float:
        self.looks += 1
        return float(self.looks)


def test_a_row_and_its_breadcrumb_say_the_same_time(heart: Heart) -> None:
    """However long it takes to put both together."""
    heart.store.clock = heart.clock = Halting()
    heart.door = Door(heart.store, Limits())
    heart.store.enqueue(birth("t"))
    lease = heart.settled(heart.held(), CLAIM, before=(replace(START, at_s=0.0),)).lease
    assert lease is not None
    at = {crumb.event: crumb.at for crumb in heart.store.peek("t").crumbs}
    assert heart.store.read("t").started_at == at["start"]
    assert heart.store.attempts("t")[0]["started_at"] == at["start"]


def test_what_became_of_somebody_else_is_refused_whole(heart: Heart) -> None:
    """The lease was taken over: one breadcrumb says that somebody came too late, and nothing else is written."""
    heart.store.enqueue(birth("t"))
    lease = heart.held()
    heart.store.bury("o", HOST, {"dead": "1"})
    heart.enlist("r")
    assert heart.store.reap(lease.task, "o", "r", slot="reaper", request="x", death=True, reason="dead", who="r")
    before = heart.dump()
    assert not heart.door.settle(lease, VERIFY, before=(START, CLAIM)).ok
    changed = {key for key, value in heart.dump().items() if before.get(key) != value}
    assert changed == {keys.crumbs("t").encode()}
    assert heart.events()[-1] == "refused:verify"


def test_a_cancel_that_was_asked_meanwhile_goes_before_another_run(heart: Heart) -> None:
    """Start and a failure that would lead to another run, in one step: it is cancelled, and its start is on record."""
    heart.store.enqueue(birth("t"))
    lease = heart.held()
    assert heart.door.apply("t", Event("cancel", "test")).ok
    network = Event("failed", "worker", failure=Failure("network", "reset"))
    assert heart.settled(lease, network, before=(START,)).state == "cancelled"
    assert heart.events()[-2:] == ["start", "cancel"]
    assert Audit(heart.store).run().violations == []
