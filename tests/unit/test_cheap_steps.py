"""What each step of an attempt does in a cheaper way than its library's is the same as the library's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.utils import utcformat

from proofq.policies import lifecycle
from proofq.workers import places, rq_view
from proofq.workers.record import Lease, Task


def test_a_moved_lease_is_a_replaced_one() -> None:
    """Equal to what `dataclasses.replace` gives, its old one left as it was."""
    task = Task("t", "a", "work", "work.a", "leased", {"x": 1}, 1, 2, 3.0, pickups=2)
    lease = Lease(task, "1-f", "o", "0")
    fields = {"state": "running", "pickups": 0, "started_at": 7}
    assert lease.moved(fields) == replace(lease, task=replace(task, state="running", pickups=0, started_at=7))
    assert lease == Lease(task, "1-f", "o", "0")
    assert (task.state, task.pickups) == ("leased", 2)


@pytest.mark.parametrize("state", [lifecycle.QUEUED, lifecycle.DEFERRED])
def test_the_fields_of_a_job_are_those_that_rq_writes(state: str) -> None:
    """The second time as well, when only what is the task's own is made anew."""
    each: list[dict[str, Any]] = [{"text": "a ü \ud83d\ude00"}, {}, {"n": [1, 2.5, None, True]}]
    for number, inputs in enumerate(each):
        now = datetime(2026, 1, 2, 3, 4, number, tzinfo=UTC)
        job = Job.create(
            "proofq.run",
            args=(inputs,),
            connection=Redis(),
            origin="work.a",
            description="a",
            timeout=61,
            result_ttl=-1,
            failure_ttl=-1,
            status=JobStatus(lifecycle.RQ_STATUS[state]),
            serializer=JSONSerializer,
        )
        job.created_at = now
        job.enqueued_at = None if state == lifecycle.DEFERRED else now
        assert rq_view.job_fields("a", "work.a", state, inputs, 60.6, now) == job.to_dict()


@pytest.mark.parametrize("micros", [0, 1, 100_000, 999_999])
def test_a_stamp_is_what_rq_writes(micros: int) -> None:
    """To the microsecond, zeros included."""
    now = datetime(2026, 1, 2, 3, 4, 5, micros, tzinfo=UTC)
    assert rq_view.stamp(now) == utcformat(now)


def test_the_places_of_an_attempt() -> None:
    """Under its task's folder, HOME and TMPDIR beside its attempts."""
    state, task = Path("/s/.proofq"), Path("/s/.proofq/tasks/t")
    found = places.of(state, "t", 2)
    assert (found.taskdir, found.home, found.tmp) == (task, str(task / "home"), str(task / "tmp"))
    assert (found.workdir, found.stdout, found.stderr) == (task / "2/work", task / "2/stdout", task / "2/stderr")
    assert (found.task, found.work) == (str(found.taskdir), str(found.workdir))


def test_what_is_scrubbed_follows_the_fields() -> None:
    """For every state exactly the fields that it must not carry."""
    for state in lifecycle.STATES:
        assert set(lifecycle.scrubbed(state)) == {
            name for name, states in lifecycle.FIELDS.items() if state not in states
        }
