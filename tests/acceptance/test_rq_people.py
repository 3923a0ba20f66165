"""People who only know RQ: what their producers and tools put into our queues becomes a task, or is refused by name."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable as Does
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rq import Callback, Queue, Repeat, Retry
from rq.job import Job
from rq.registry import FailedJobRegistry, ScheduledJobRegistry
from rq.serializers import DefaultSerializer, JSONSerializer

from proofq.policies import lifecycle
from proofq.workers import keys, status, task_view, why
from proofq.workers.audit import Audit
from proofq.workers.door import Event
from tests.acceptance.harness import Site, crumbs_are_whole, one_end
from tests.waiting import until

QUEUE = "work.write"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A worker, and nothing of ours in the producers."""
    with Site({"slots": 2}) as made:
        made.start().wait_ready()
        yield made


def queue_of(site: Site, serializer: Any = JSONSerializer) -> Queue:
    return Queue(QUEUE, connection=site.client, serializer=serializer)


def inputs(site: Site, name: str) -> dict[str, Any]:
    return {"out": site.out(name), "text": name, "run_s": 0.05}


def ended(site: Site, job: Job) -> Any:
    """The task that the job became, once it has ended."""
    until(lambda: site.client.exists(keys.task(job.id)), 10.0, "the adoption")
    return site.wait_all([job.id], 20.0)[job.id]


def test_a_plain_job_is_adopted_and_proven(site: Site) -> None:
    """It runs with our time-out and retention, is verified, and RQ says so in its own words."""
    job = queue_of(site).enqueue("proofq.run", inputs(site, "plain"), job_timeout=5, result_ttl=1)
    task = ended(site, job)
    assert (task.state, task.agent) == (lifecycle.VERIFIED, "write")
    assert one_end(site.snapshot(job.id)) == []
    assert site.events(job.id)[:2] == ["adopt", "lease"]
    seen = Job.fetch(job.id, connection=site.client, serializer=JSONSerializer)
    assert (seen.get_status(), seen.timeout, seen.result_ttl) == ("finished", 60, -1)
    result = seen.latest_result()
    assert result is not None
    assert result.type.name == "SUCCESSFUL"
    assert site.client.ttl(keys.rq_job(job.id)) == -1
    assert Audit(site.store).run().violations == []


BAD = {
    "no inputs": ((), {}, "one positional argument"),
    "two": (({}, {}), {}, "one positional argument"),
    "by name": ((), {"out": "x"}, "one positional argument"),
    "a list": (([],), {}, "one positional argument"),
    "missing": (({"out": "x"},), {}, "text"),
    "wrong type": (({"out": "x", "text": 1, "run_s": 0},), {}, "text"),
    "unknown": (({"out": "x", "text": "a", "run_s": 0, "more": 1},), {}, "more"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_inputs_are_settled_and_said(site: Site, case: str) -> None:
    """Failed as bad_input, uncounted, never started; RQ has it among its failed jobs."""
    args, kwargs, said = BAD[case]
    job = queue_of(site).enqueue("proofq.run", args=args, kwargs=kwargs)
    refused(site, job, lifecycle.FAILED, said)


def test_a_job_for_later_is_adopted_at_once_and_runs_at_its_time(site: Site) -> None:
    """`enqueue_in` never reaches a queue by itself here: ours within seconds, it waits for its time, and is proven."""
    job = queue_of(site).enqueue_in(timedelta(seconds=8), "proofq.run", inputs(site, "later"))
    until(lambda: site.client.exists(keys.task(job.id)), 30.0, "the adoption")
    task = site.task(job.id)
    assert task.state == lifecycle.DEFERRED
    due = ScheduledJobRegistry.key_template.format(QUEUE)
    assert not site.client.exists(due)
    assert Audit(site.store).run().violations == []
    ended = site.wait_for(job.id, lifecycle.VERIFIED, 25.0)
    crumbs = site.snapshot(job.id).crumbs
    assert [crumb.event for crumb in crumbs][:3] == ["adopt_later", "due", "lease"]
    assert task.not_before is not None
    assert crumbs[1].at >= task.not_before
    assert ended.attempt == 1


PARKED: dict[str, tuple[Does[[Queue, Any], Job], str]] = {
    "depends_on": (
        lambda queue, given: queue.enqueue("proofq.run", args=(given,), depends_on="no-such-job"),
        "depends_on",
    ),
    "retry later": (
        lambda queue, given: queue.enqueue_in(
            timedelta(hours=1), "proofq.run", args=(given,), retry=Retry(max=2, interval=60)
        ),
        "Retry",
    ),
    "too late": (lambda queue, given: queue.enqueue_in(timedelta(days=9), "proofq.run", args=(given,)), "max_age_s"),
    "bad inputs": (lambda queue, _: queue.enqueue_in(timedelta(hours=1), "proofq.run", {"out": 1}), "text"),
}


@pytest.mark.parametrize("case", PARKED)
def test_what_rq_keeps_and_we_do_not_do_is_refused_with_the_reason(site: Site, case: str) -> None:
    """Found in RQ's registry, settled failed at once, and its reason stands in `show` and `why`."""
    enqueue, said = PARKED[case]
    job = enqueue(queue_of(site), inputs(site, case))
    refused(site, job, lifecycle.FAILED, said)
    for key in (keys.RQ_DEFERRED, keys.RQ_SCHEDULED):
        assert site.client.zscore(key + QUEUE, job.id) is None
    assert said in why.why(site.store, job.id).text


NO_WORK: dict[str, tuple[tuple[Any, ...], str]] = {
    "of a wrong type": (({"word": 7},), lifecycle.FAILED),
    "two of them": (({}, {}), lifecycle.FAILED),
    "no object": (([],), lifecycle.FAILED),
}


@pytest.mark.parametrize("case", NO_WORK)
def test_a_replay_of_what_was_refused_runs_nothing_else(site: Site, case: str) -> None:
    """Inputs that do not fit are kept, so that RQ's requeue meets the same refusal, never a run without any."""
    args, state = NO_WORK[case]
    queue = Queue("work.quick", connection=site.client, serializer=JSONSerializer)
    job = queue.enqueue("proofq.run", args=args)
    assert ended(site, job).state == state
    FailedJobRegistry("work.quick", connection=site.client).requeue(job.id)
    until(lambda: "fail" in site.events(job.id), 15.0, "the second refusal")
    task = site.task(job.id)
    assert (task.state, task.failure and task.failure.kind) == (lifecycle.FAILED, "bad_input")
    assert "start" not in site.events(job.id)


def test_a_replay_of_a_pickle_runs_nothing(site: Site) -> None:
    """A human's replay of what could not be read fails by its inputs, though the agent would take none."""
    queue = Queue("work.quick", connection=site.client, serializer=DefaultSerializer)
    job = queue.enqueue("proofq.run", {"word": "a"})
    assert ended(site, job).state == lifecycle.QUARANTINED
    assert site.session.door.apply(job.id, Event("replay", "test", "again")).ok
    task = site.wait_for(job.id, lifecycle.FAILED, 15.0)
    assert task.failure is not None
    assert task.failure.kind == "bad_input"
    assert "start" not in site.events(job.id)


def test_suspended_workers_take_nothing_and_say_so(site: Site) -> None:
    """From `rq suspend` to `rq resume` no task is leased, what runs goes on, and status, show and why tell it."""
    running = site.enqueue("write", out=site.out("running"), text="running", run_s=2.0)
    site.wait_for(running, lifecycle.RUNNING)
    rq(site, "suspend")
    waiting = site.enqueue("write", **inputs(site, "suspended"))
    assert site.wait_for(running, lifecycle.VERIFIED, 20.0).attempt == 1
    # A whole tick of its slots, and the bell that rang for it.
    time.sleep(1.5)
    assert site.task(waiting).state == lifecycle.QUEUED
    assert task_view.waiting_for(site.store, site.task(waiting)) == {"what": "resume", "name": "rq", "until": None}
    assert "rq resume" in why.why(site.store, waiting).text
    document = status.read(site.store).document()
    assert document["suspended"] == {"by": "rq", "until": None}
    assert {worker["state"] for worker in document["workers"]} == {"suspended"}
    assert any("suspended" in sentence for sentence in document["attention"])
    rq(site, "resume")
    site.wait_for(waiting, lifecycle.VERIFIED, 20.0)
    assert status.read(site.store).document()["suspended"] is None


def test_a_suspension_that_ends_by_itself_tells_until_when(site: Site) -> None:
    """`rq suspend --duration`: show says until when, and the task runs after it without anybody's help."""
    rq(site, "suspend", "--duration", "4")
    waiting = site.enqueue("write", **inputs(site, "for a while"))
    seen = task_view.waiting_for(site.store, site.task(waiting))
    assert seen is not None
    assert seen["what"] == "resume"
    assert seen["until"]
    assert site.wait_for(waiting, lifecycle.VERIFIED, 30.0).attempt == 1


def rq(site: Site, *words: str) -> str:
    """RQ's own command line on the site's Redis."""
    command = [str(Path(sys.executable).with_name("rq")), *words, "--url", site.server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


WISHES: dict[str, tuple[dict[str, Any], str]] = {
    "retry": ({"retry": Retry(max=2)}, "Retry"),
    "repeat": ({"repeat": Repeat(times=2)}, "Repeat"),
    "on_success": ({"on_success": Callback(print)}, "on_success"),
    "on_failure": ({"on_failure": Callback(print)}, "on_failure"),
}


@pytest.mark.parametrize("case", WISHES)
def test_what_rq_would_do_beside_running_it_is_refused(site: Site, case: str) -> None:
    """Ignoring it would be a lie: the reason names it and what to use instead."""
    wish, said = WISHES[case]
    job = queue_of(site).enqueue("proofq.run", args=(inputs(site, case),), **wish)
    refused(site, job, lifecycle.FAILED, said)


def test_a_pickled_job_is_quarantined_unread(site: Site) -> None:
    """What only pickle can read is not read."""
    job = queue_of(site, DefaultSerializer).enqueue("proofq.run", inputs(site, "pickled"))
    refused(site, job, lifecycle.QUARANTINED, "JSONSerializer")


def test_a_job_that_calls_something_else_is_quarantined(site: Site) -> None:
    """Only declared agents run here."""
    refused(site, queue_of(site).enqueue("os.system", "true"), lifecycle.QUARANTINED, "os.system")


def refusals(site: Site, task_id: str) -> int:
    return site.events(task_id).count("refused:lease")


def refused(site: Site, job: Job, state: str, said: str) -> None:
    task = ended(site, job)
    assert (task.state, task.counted, task.attempt) == (state, 0, 0)
    assert task.failure.kind == "bad_input"
    assert said in task.failure.reason
    assert crumbs_are_whole(site.snapshot(job.id)) == []
    assert job.id in FailedJobRegistry(QUEUE, connection=site.client).get_job_ids(cleanup=False)
    assert Audit(site.store).run().violations == []


def test_a_deferred_or_failed_task_moves_as_its_person_would(site: Site) -> None:
    """A failed task put back with RQ's tools is replayed, and its breadcrumbs say that it was RQ."""
    task_id = queue_of(site).enqueue("proofq.run", {"out": "x"}).id
    until(lambda: site.client.exists(keys.task(task_id)), 10.0, "the adoption")
    broken = site.enqueue("broken", how="raise")
    site.wait_for(broken, lifecycle.QUARANTINED)
    failed = site.enqueue("stubborn", token="rq")
    site.wait_for(failed, lifecycle.FAILED, 20.0)
    FailedJobRegistry("work.stubborn", connection=site.client).requeue(failed)
    until(lambda: "replay" in site.events(failed), 10.0, "the replay")
    crumb = next(one for one in site.snapshot(failed).crumbs if one.event == "replay")
    assert crumb.who == "rq"
    site.wait_for(failed, lifecycle.FAILED, 20.0)
    assert crumbs_are_whole(site.snapshot(failed)) == []


def test_what_the_table_forbids_is_refused_and_put_right(site: Site) -> None:
    """Quarantined, cancelled and verified tasks pushed into their queues do not run; the breadcrumbs say who tried."""
    verified = site.enqueue("write", **inputs(site, "done"))
    quarantined = site.enqueue("broken", how="raise")
    ids = {verified: lifecycle.VERIFIED, quarantined: lifecycle.QUARANTINED}
    for task_id, state in ids.items():
        site.wait_for(task_id, state)
    before = {task_id: site.task(task_id).attempt for task_id in ids}
    for task_id in ids:
        site.client.lpush(keys.rq_queue(site.task(task_id).queue), task_id)
    for task_id, state in ids.items():
        until(partial(refusals, site, task_id), 10.0, "the refusal")
        assert (site.task(task_id).state, site.task(task_id).attempt) == (state, before[task_id])
    assert Audit(site.store).run().violations == []


def test_an_id_that_is_no_text_hides_nobody(site: Site) -> None:
    """It stays among the strays with its reason; tasks that wait for a time are still promoted."""
    site.client.rpush(keys.rq_queue(QUEUE), b"\xff\xfe", "no-such-job")
    until(lambda: site.client.hlen(keys.STRAYS) == 2, 10.0, "the strays")
    job = queue_of(site).enqueue("proofq.run", inputs(site, "behind"))
    assert ended(site, job).state == lifecycle.VERIFIED
    rows = site.client.hgetall(keys.STRAYS)
    assert {json.loads(row)["reason"] for row in rows.values()} == {"no task of ours has this id"}
    site.client.delete(keys.STRAYS)
