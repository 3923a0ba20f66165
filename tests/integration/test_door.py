"""Ten thousand random events at the door, legal and illegal, and nobody ever sees a contradiction."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest
import redis

from proofq.policies import audit, lifecycle, settlement
from proofq.policies.classes import CLASSES
from proofq.policies.failure import Failure
from proofq.workers import keys
from proofq.workers.audit import Audit
from proofq.workers.door import UNLEASED, Event
from proofq.workers.record import Lease
from proofq.workers.store import Move
from tests.heart import CLAIM, HOST, LOST, START, VERDICT, Heart, birth
from tests.servers import PrivateServer

ROOT = Path(__file__).parents[2]
EVENTS = 10_000
TASKS = [f"t{n}" for n in range(40)]
OWNERS = ["o1", "o2", "o3"]
#: Words that no event has, or that only the scripts write.
NO_EVENTS = ["nonsense", "", "lease", "enqueue", "refused:claim"]
#: The events that end a claim well, and where they lead.
SUCCESSES = {"verify": lifecycle.VERIFIED, "finish_unproven": lifecycle.FINISHED_UNPROVEN}
FAILED = Failure("infrastructure", "cannot tell")


class Storm:
    """Random moves of several owners over all tasks; every lease there ever was may be used again."""

    def __init__(self, heart: Heart, seed: int) -> None:
        self.heart = heart
        self.random = Random(seed)
        self.leases: list[Lease] = []
        self.seen: Counter[str] = Counter()

    def step(self) -> None:
        chance = self.random.random()
        if chance < 0.22:
            self._take()
        elif chance < 0.25:
            self._bury()
        elif chance < 0.75 and self.leases:
            self._hold()
        else:
            self._ask()

    def _take(self) -> None:
        lease = self.heart.lease(self.random.choice(OWNERS), str(self.random.randrange(4)))
        self.seen["lease" if lease else "empty"] += 1
        if lease is not None:
            self.leases.append(lease)

    def _bury(self) -> None:
        """One owner dies; another takes what it held."""
        old, new = self.random.sample(OWNERS, 2)
        store = self.heart.store
        store.bury(old, HOST, {"dead": "1"})
        for task_id in store.leases_of(old):
            taken = store.reap(
                store.read(task_id), old, new, slot="reaper", request=self.heart.clock.token(), death=True,
                reason="dead", who="storm",
            )  # fmt: skip
            assert taken is not None
            self.seen["reap"] += 1
            self.leases.append(taken)
        self.heart.enlist(old)

    def _hold(self) -> None:
        # The newest are mostly still held, the others are stale.
        index = max(0, len(self.leases) - 1 - int(self.random.expovariate(1 / 8)))
        lease, event = self.leases[index], self._event()
        if event.name in {"verify", "found", "finish_unproven"} and self.random.random() > 0.08:
            # Nobody replays a success: with many of them soon nothing would move any more.
            event = LOST
        if lease.task.state == lifecycle.CLAIMED_DONE:
            # The rarest ends must not be left to chance.
            unseen = [name for name, state in SUCCESSES.items() if not self.seen[state]]
            event = Event(unseen[0], "storm", verdict=VERDICT) if unseen else event
        settled = self.heart.door.settle(lease, event)
        self.seen["settled" if settled.ok else "refused"] += 1
        if settled.lease is not None:
            self.leases[index] = settled.lease
        if settled.ok:
            self.seen[settled.state] += 1

    def _event(self) -> Event:
        failure = Failure(self.random.choice(sorted(CLASSES)), "for a reason", fingerprint=self.random.choice("ab"))
        return self.random.choice([
            START, START, START, CLAIM, CLAIM, CLAIM, LOST, Event("verify", "storm", verdict=VERDICT),
            Event("verify", "storm", verdict=VERDICT), Event("found", "storm", verdict=VERDICT),
            Event("finish_unproven", "storm"), Event("failed", "storm", failure=failure),
            Event("failed", "storm", failure=failure, verdict={"outcome": "unverified"}, outcome="unverified"),
            Event("give_back", "storm", "drains"), Event("hold", "storm", failure=FAILED, outcome="cannot_tell"),
            Event("cancel", "storm"), Event("due", "storm"), Event("replay", "storm"),
            Event(self.random.choice(NO_EVENTS), "storm"),
        ])  # fmt: skip

    def _ask(self) -> None:
        name = self.random.choice(["cancel", "ask_cancel", "replay", "replay", "replay", "due", "due", "expire"])
        if self.random.random() < 0.2:
            name = self.random.choice(sorted(lifecycle.EVENTS) + NO_EVENTS)
        task_id = self.random.choice(TASKS)
        settled = self.heart.door.apply(task_id, Event(name, "storm"))
        assert name in UNLEASED or not settled.ok
        self.seen["asked" if settled.ok else "refused"] += 1


def test_ten_thousand_events(redis_server: PrivateServer, redis_client: redis.Redis) -> None:
    """A second process reads task, RQ job and audit view all the while; every state was reached, all agreed always."""
    seed = int(os.environ.get("DOOR_SEED", time.time_ns() % 1_000_000))
    print(f"DOOR_SEED={seed}")
    heart = Heart(redis_client)
    # What is tested is order, not the disk.
    heart.client.config_set("appendonly", "no")
    heart.enlist(*OWNERS)
    for name in TASKS:
        heart.store.enqueue(birth(name))
    storm = Storm(heart, seed)
    poller = subprocess.Popen(
        [sys.executable, "-m", "tests.door_poller", redis_server.url, *TASKS],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert poller.stdout is not None
        assert json.loads(poller.stdout.readline()) == {"ready": True}
        for _ in range(EVENTS):
            storm.step()
        said, _ = poller.communicate(timeout=60)
    finally:
        poller.kill()
        poller.wait()
    lines = [json.loads(line) for line in said.splitlines()]
    print(dict(storm.seen), lines[-1])
    assert lines[:-1] == []
    assert lines[-1]["looks"] >= len(TASKS)
    assert storm.seen.keys() | {"leased", "expired"} >= lifecycle.OWNED | lifecycle.TERMINAL
    assert min(storm.seen[name] for name in ("lease", "reap", "settled", "refused", "asked")) > 100
    assert Audit(heart.store).run().violations == []


@pytest.fixture
def heart(redis_client: redis.Redis) -> Heart:
    """A door with one owner and one task."""
    made = Heart(redis_client)
    made.enlist("o")
    made.store.enqueue(birth("t"))
    return made


@pytest.mark.parametrize("name", ["verify", "claim", "due", "replay", "nonsense", "enqueue", "lease"])
def test_illegal_event_changes_nothing(heart: Heart, name: str) -> None:
    """From leased the table has none of these: one breadcrumb says that it was refused, nothing else is written."""
    lease = heart.held()
    before = heart.dump()
    settled = heart.door.settle(lease, Event(name, "bench", verdict=VERDICT))
    assert (settled.ok, settled.state) == (False, "leased")
    after = heart.dump()
    assert {key for key in after if after[key] != before.get(key)} == {keys.crumbs("t").encode()}
    assert heart.events()[-1] == f"refused:{name}"
    assert audit.check(heart.store.peek("t").view()) == []


def test_who_holds_no_lease_moves_nothing_held(heart: Heart) -> None:
    """Every event of the table without a lease, at a task that is worked on: refused, or the holder is only asked."""
    heart.held()
    for name in sorted(lifecycle.EVENTS - {"cancel", "ask_cancel"}):
        assert not heart.door.apply("t", Event(name, "outsider")).ok
        assert heart.events()[-1] == f"refused:{'replay' if name in lifecycle.REPLAYS else name}"
    assert heart.door.apply("t", Event("cancel", "outsider")).event == "ask_cancel"
    assert heart.store.read("t").state == "leased"


@pytest.mark.parametrize("name", ["reap", "retry", "defer", "requeue", "fail", "quarantine", "expire", "ask_cancel"])
def test_the_holder_does_not_choose_its_response(heart: Heart, name: str) -> None:
    """The table has each of these from leased, for the policy or for a script: named by the holder they are refused."""
    lease = heart.held()
    settled = heart.door.settle(lease, Event(name, "bench", failure=FAILED))
    assert (settled.ok, settled.state) == (False, "leased")
    assert heart.events()[-1] == f"refused:{name}"
    assert audit.check(heart.store.peek("t").view()) == []


def test_stale_lease_is_refused_and_recorded(heart: Heart) -> None:
    """The old holder's success after a takeover is not written; the new holder's end is."""
    stale = heart.claimed()
    heart.store.bury("o", HOST, {"dead": "1"})
    heart.enlist("r")
    taken = heart.store.reap(stale.task, "o", "r", slot="x", request="x", death=True, reason="dead", who="r")
    assert taken is not None
    late = heart.door.settle(stale, Event("verify", "old", verdict=VERDICT))
    assert (late.ok, late.state) == (False, "claimed_done")
    assert stale.fence in late.reason
    assert heart.events()[-1] == "refused:verify"
    assert heart.settled(taken, Event("verify", "new", verdict=VERDICT)).state == "verified"
    assert Audit(heart.store).run().violations == []


def test_policy_that_raises_quarantines(heart: Heart, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in a policy of ours is the task's end with its name, never the worker's."""

    def broken(*_: object) -> settlement.Decision:
        raise ZeroDivisionError("a bug")

    lease = heart.running()
    monkeypatch.setattr(settlement, "decide", broken)
    assert heart.settled(lease, Event("failed", "o", failure=Failure("network", "reset"))).state == "quarantined"
    failure = heart.store.read("t").failure
    assert failure is not None
    assert (failure.kind, failure.reason) == ("policy_error", "policy_error: ZeroDivisionError: a bug")
    assert heart.store.read("t").counted == 0
    assert Audit(heart.store).run().violations == []


@pytest.mark.parametrize(
    "text", ["half a pair \ud800", "nul \0 and \x1b[0m", "x" * 100_000, "日本 🦊", ""], ids=range(5)
)
def test_no_text_keeps_an_attempt_from_its_end(heart: Heart, text: str) -> None:
    """Whatever an agent says in its claim or its failure, the task ends and can be read."""
    lease = heart.settled(heart.running(), Event("claim", "o", claim={"said": text}))
    assert lease.lease is not None
    heart.settled(lease.lease, Event("failed", "o", text, Failure("timeout", text, fingerprint=text[:16])))
    shown = heart.store.snapshot("t")
    assert shown.task.state == "failed"
    assert shown.task.failure is not None
    assert Audit(heart.store).run().violations == []


def test_no_number_keeps_an_attempt_from_its_end(heart: Heart) -> None:
    """A claim that is no JSON (NaN) is refused before it is written, and the lease can still be settled."""
    lease = heart.running()
    before = heart.dump()
    with pytest.raises(ValueError, match="JSON"):
        heart.door.settle(lease, Event("claim", "o", claim=math.nan))
    assert heart.dump() == before
    assert heart.settled(lease, Event("failed", "o", failure=Failure("policy_error", "NaN"))).state == "quarantined"


def test_who_is_late_is_recorded_though_the_task_moves_on(heart: Heart) -> None:
    """Between the look at where the task stands and the breadcrumb it may have moved: the refusal is written all the
    same, and the chain of breadcrumbs holds."""
    stale = heart.running()
    heart.store.bury("o", HOST, {"dead": "1"})
    heart.enlist("r")
    taken = heart.store.reap(stale.task, "o", "r", slot="x", request="x", death=True, reason="dead", who="r")
    assert taken is not None
    heart.settled(taken, LOST)
    task = heart.store.read("t")
    assert task.state == "queued"
    heart.door.apply("t", Event("cancel", "test"))
    written = heart.store.settle(Move("t", task.queue, "queued", "refused:claim", "queued", "late", "old"))
    assert written.ok
    assert heart.events()[-1] == "refused:claim"
    assert Audit(heart.store).run().violations == []


def test_refusals_are_recorded_up_to_a_bound(redis_client: redis.Redis) -> None:
    """Whoever asks again and again does not fill Redis: a task has a thousand breadcrumbs, and then only its own."""
    heart = Heart(redis_client)
    heart.enlist("o")
    heart.store.enqueue(birth("t"))
    for _ in range(3):
        assert not heart.door.apply("t", Event("replay", "test")).ok
    assert heart.events() == ["enqueue", *["refused:replay"] * 3]
    last = heart.client.lindex(keys.crumbs("t"), -1)
    heart.client.rpush(keys.crumbs("t"), *[last] * 995)
    for _ in range(3):
        assert not heart.door.apply("t", Event("replay", "test")).ok
    assert heart.client.llen(keys.crumbs("t")) == 1000
    assert heart.door.apply("t", Event("cancel", "test")).ok
    assert heart.client.llen(keys.crumbs("t")) == 1001
