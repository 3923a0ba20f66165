"""A task that ended in success is packed: it says all that it said before, in a few small keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from rq.job import Job
from rq.serializers import JSONSerializer

from proofq.policies.failure import Failure
from proofq.workers import keys, packed, rq_view
from proofq.workers.audit import Audit
from proofq.workers.door import Event
from proofq.workers.record import Task
from tests.heart import AGENT, QUEUE, START, Heart, birth

#: Bytes of Redis that one such task takes (MEMORY USAGE), with its places in the lists of all tasks.
MOST_BYTES = 3 * 1024
PATH = "/home/somebody/project/results/a file with a longer name, ä.md"
EVIDENCE = {"path": PATH, "size": 5, "sha256": "0" * 64, "changed_at": "2026-01-01T00:00:00.000000Z", "fresh": "new"}
VERDICT = {"outcome": "verified", "proofs": [{"kind": "file", "outcome": "verified", "evidence": EVIDENCE}]}
VERIFY = Event("verify", "worker", verdict=VERDICT)
BASELINE = {"files": [{"path": PATH, "host": "host", "record": {"kind": "absent"}, "marker_ctime_ns": 1}]}


@pytest.fixture
def heart(redis_client: redis.Redis) -> Heart:
    """One owner."""
    made = Heart(redis_client)
    made.enlist("o")
    return made


def ended(heart: Heart, *, claim: Any = "done", inputs: Any = None, fails: bool = True) -> dict[str, Any]:
    """Task t verified, at its second attempt if the first `fails`; what its rows said in the step before."""
    made = birth("t")
    if inputs is not None:
        made.fields["inputs"] = json.dumps(inputs, ensure_ascii=False)  # type: ignore[index]
    heart.store.enqueue(made)
    if fails:
        heart.settled(heart.running(), Event("failed", "worker", failure=Failure("network", "reset by peer")))
        assert heart.door.apply("t", Event("due", "test")).ok
    lease = heart.settled(heart.held(), Event("baseline", "worker", fields=BASELINE)).lease
    assert lease is not None
    lease = heart.settled(lease, START).lease
    assert lease is not None
    lease = heart.settled(lease, Event("claim", "worker", claim=claim, steps=("plan",))).lease
    assert lease is not None
    before = heart.store.peek("t")
    heart.settled(lease, VERIFY)
    return {"crumbs": before.crumbs, "attempts": before.attempts, "row": before.row}


def test_all_that_was_said_is_still_said(heart: Heart) -> None:
    """Inputs, claim, verdict, every breadcrumb and every record of an attempt; only what nobody reads is gone."""
    inputs, claim = {"out": PATH, "text": "ü" * 200}, {"answer": "é" * 90}
    before = ended(heart, inputs=inputs, claim=claim)
    assert not heart.client.exists(keys.crumbs("t"), keys.attempts("t"))
    task = heart.store.read("t")
    assert (task.state, task.inputs, task.claim, task.verdict) == ("verified", inputs, claim, VERDICT)
    assert task.baseline is None
    peek = heart.store.peek("t")
    shown = [(one.at, one.source, one.event, one.to, one.reason, one.attempt, one.fence, one.who, one.evidence)
             for one in peek.crumbs]  # fmt: skip
    assert shown[:-1] == [
        (one.at, one.source, one.event, one.to, one.reason, one.attempt, one.fence, one.who, one.evidence)
        for one in before["crumbs"]
    ]
    assert (peek.crumbs[-1].source, peek.crumbs[-1].event) == ("claimed_done", "verify")
    unread = {"start_ticks", "stamp_ns"}
    first, last = ({name: each for name, each in one.items() if name not in unread} for one in before["attempts"])
    assert peek.attempts[0] == first
    assert peek.attempts[1] == last | {"outcome": "verified", "counted": True, "ended_at": task.ended_at}
    assert heart.store.attempts("t") == peek.attempts
    assert Audit(heart.store).run().violations == []


def test_it_is_small(heart: Heart) -> None:
    """Every key of it is encoded tightly, and together they are within the bound that docs/cost.md names."""
    ended(heart, fails=False)
    assert heart.client.object("encoding", keys.task("t")) in {b"listpack", b"ziplist"}
    assert heart.client.object("encoding", keys.rq_job("t")) in {b"listpack", b"ziplist"}
    own = [key for key in heart.client.keys("*") if key.endswith(b":t")]
    assert sorted(own) == sorted([keys.task("t").encode(), keys.rq_job("t").encode(), keys.rq_results("t").encode()])
    # Four lists have a member for each task, of about 125 bytes.
    assert sum(heart.client.memory_usage(key, samples=0) for key in own) + 4 * 125 <= MOST_BYTES


def test_beside_a_long_claim_nothing_is_cut(heart: Heart) -> None:
    """A hash with one long value costs by its fields, so that the rest stands in one."""
    ended(heart, claim="x" * 65, fails=False)
    assert [name for name in heart.client.hkeys(keys.task("t")) if name.isdigit()] == [b"0"]


def test_the_last_of_many_requests_may_be_sent_again(heart: Heart) -> None:
    """Its reply was lost: it is answered as carried out, and writes nothing more."""
    ended(heart)
    before = heart.client.dump(keys.task("t"))
    assert heart.runner.again()()[0] == b"already"
    assert heart.client.dump(keys.task("t")) == before
    assert not heart.client.exists(keys.crumbs("t"))


def test_rqs_people_find_their_job(heart: Heart) -> None:
    """`Job.fetch` has everything but its arguments, which are the task's inputs."""
    ended(heart, inputs={"out": PATH})
    job = Job.fetch("t", connection=heart.client, serializer=JSONSerializer)
    assert (job.get_status(), job.origin, job.description, job.func_name) == ("finished", QUEUE, AGENT, "proofq.run")
    assert (job.timeout, job.result_ttl, job.failure_ttl) == (60, -1, -1)
    assert job.worker_name
    assert not heart.client.hexists(keys.rq_job("t"), "last_heartbeat")
    times = [job.created_at, job.enqueued_at, job.started_at, job.ended_at]
    assert [at for at in times if at is not None] == sorted(at for at in times if at is not None)
    assert None not in times
    result = job.latest_result()
    assert result is not None
    assert (result.type.name, result.return_value) == ("SUCCESSFUL", "done")


def test_the_job_of_a_plain_producer_stays_his(heart: Heart) -> None:
    """Adopted jobs keep their arguments: he may look for them."""
    made = birth("t")
    job = rq_view.job_fields(AGENT, QUEUE, "queued", {"out": PATH}, 60, datetime.now(UTC))
    heart.client.hset(keys.rq_job("t"), mapping=job)
    heart.store.enqueue(type(made)(**{**vars(made), "adopt": True, "event": "adopt", "job": {}}))
    heart.settled(heart.claimed(), VERIFY)
    assert Job.fetch("t", connection=heart.client, serializer=JSONSerializer).args == [{"out": PATH}]


def test_a_long_claim_and_much_to_pack(heart: Heart) -> None:
    """What Redis would not pack stands in one part, and nothing is lost. Who knows of no packing finds the claim."""
    claim, inputs = "x" * 20_000, {"out": "y" * 30_000}
    before = ended(heart, claim=claim, inputs=inputs)
    task = heart.store.read("t")
    assert (task.claim, task.inputs, task.verdict) == (claim, inputs, VERDICT)
    assert heart.client.hget(keys.task("t"), "claim") == json.dumps(claim).encode()
    assert heart.client.hget(keys.task("t"), "inputs") == b"{}"
    assert heart.events()[:-1] == [one.event for one in before["crumbs"]]
    assert not heart.client.hexists(keys.task("t"), "baseline")
    assert Audit(heart.store).run().violations == []


def test_what_comes_after_it_is_told_after_it(heart: Heart) -> None:
    """A replay that the table forbids leaves its breadcrumb behind those that are packed."""
    before = ended(heart)
    assert not heart.door.apply("t", Event("replay", "test")).ok
    events = heart.events()
    assert events == [*(one.event for one in before["crumbs"]), "verify", "refused:replay"]
    assert Audit(heart.store).run().violations == []


def test_rows_of_before_are_still_read(heart: Heart) -> None:
    """A task that an older worker ended stands as it left it, beside packed ones."""
    before = ended(heart)
    row: dict[str, str] = {**before["row"], "state": "verified", "verdict": json.dumps(VERDICT)}
    assert Task.read("t", row).verdict == VERDICT
    assert packed.whole(row) == row


#: What somebody wrote over the first breadcrumb, or beside the records of attempts.
STRANGE = {
    "a time that is none": ('["noon",null,"enqueue","queued","",0,"","","",""]', ""),
    "a time beyond all": ('[1e999,null,"enqueue","queued","",0,"","","",""]', ""),
    "an attempt that is none": ('[1,null,"lease","leased","",[1],"","","",""]', ""),
    "no breadcrumb": ('{"a":1}', ""),
    "a number beyond all": ("", '{"n":1e999}'),
    "no number": ("", '{"n":"x"}'),
    "no record": ("", "[]"),
}


@pytest.mark.parametrize(("crumb", "record"), STRANGE.values(), ids=STRANGE.keys())
def test_what_is_broken_is_not_packed(heart: Heart, crumb: str, record: str) -> None:
    """The task ends and is read all the same, its slot has the next one, and the audit has something to look at."""
    heart.store.enqueue(birth("t"))
    lease = heart.claimed()
    heart.store.enqueue(birth("next"))
    if crumb:
        heart.client.lset(keys.crumbs("t"), 0, crumb)
    else:
        heart.client.hset(keys.attempts("t"), "7", record)
    settled = heart.settled(lease, VERIFY, wish=heart.wish)
    assert settled.next is not None
    assert heart.store.read("t").verdict == VERDICT
    assert heart.client.llen(keys.crumbs("t")) == 5
    assert Audit(heart.store).run().checked


BROKEN = {
    "a part gone": lambda row: {name: text for name, text in row.items() if name != "1"},
    "cut": lambda row: {**row, "1": row["1"][:9]},
    "no head": lambda row: {**row, "0": "x" * 64},
    "other names": lambda row: {**row, "0": row["0"].replace("crumbs", "crimbs")},
    "no JSON": lambda row: {**row, "0": row["0"].replace("[[", "((")},
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_one_is_named(heart: Heart, broken: Any) -> None:
    """It is no row that can be read, says so as any other, and the audit names it; nothing else is raised."""
    ended(heart)
    row = {name.decode(): text.decode("utf-8", "surrogateescape") for name, text in
           heart.client.hgetall(keys.task("t")).items()}  # fmt: skip
    damaged = broken(row)
    with pytest.raises(ValueError, match=r"cannot be read|otherwise|cut|Expecting"):
        Task.read("t", damaged)
    heart.client.delete(keys.task("t"))
    heart.client.hset(keys.task("t"), mapping={name: text.encode("utf-8", "surrogateescape")
                                               for name, text in damaged.items()})  # fmt: skip
    assert {violation.subject for violation in Audit(heart.store).run().violations} == {"t"}
