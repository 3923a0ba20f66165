"""Two supervisors share the slots of a lane: one worker to everybody who looks, two to what happens to them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from rq import Queue
from rq.serializers import JSONSerializer

from proofq.policies import lifecycle
from proofq.workers import keys
from tests.acceptance.harness import READY_S, Site, Worker
from tests.commands import Project
from tests.waiting import until


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Five slots for work in two shares, no meta lane."""
    with Site({"slots": 5, "supervisors": 2}) as made:
        yield made


def _idle(site: Site) -> Site:
    """The site without a worker."""
    for worker in site.workers:
        if worker.process.poll() is None:
            worker.term()
            assert worker.wait(30) == 0
    return site


def _worker(site: Site) -> Worker:
    """Its worker: the one that an earlier test left, or a new one."""
    return next((worker for worker in site.workers if worker.process.poll() is None), None) or site.start()


def _both(worker: Worker) -> list[dict[str, str]]:
    """The rows of both supervisors once they lease, by their first slots."""

    def rows() -> list[dict[str, str]]:
        ready = [row for row in worker.owners().values() if row["state"] == "ready" and not row.get("dead")]
        return sorted(ready, key=lambda row: int(row["first_slot"]))

    return until(lambda: rows() if len(rows()) == 2 else [], READY_S, "two that lease")


def _run(site: Site, *arguments: str) -> dict[str, Any]:
    project = Project.__new__(Project)
    project.root, project.environ = site.project, os.environ | site.environ()
    return project(*arguments, "--json").document


def test_one_dies_alone(site: Site) -> None:
    """kill -9 of one supervisor: its attempts run again, and those of the other have not noticed."""
    worker = _worker(site)
    first, second = _both(worker)
    ids = [site.enqueue("hang", until=site.out("five")) for _ in range(5)]
    until(lambda: {site.task(task_id).state for task_id in ids} == {lifecycle.RUNNING}, 30, "five that run")
    hit = {task_id for task_id in ids if site.task(task_id).owner == first["id"]}
    assert len(hit) == 2
    os.kill(int(first["supervisor_pid"]), signal.SIGKILL)
    until(lambda: all(site.task(one).attempt == 2 and site.task(one).started_at for one in hit), 30, "second attempts")
    (site.files / "five").touch()
    site.wait_all(ids, 60)
    assert {task_id for task_id in ids if "reap" in site.events(task_id)} == hit
    replaced = _both(worker)
    assert [row["first_slot"] for row in replaced] == ["0", "2"]
    assert replaced[1]["id"] == second["id"]


def test_one_worker_to_who_looks(site: Site) -> None:
    """`status` and `workers` have a row with all slots and tasks, and each slot is one worker of RQ's."""
    worker = _worker(site)
    rows = _both(worker)
    assert [(row["first_slot"], row["slots"]) for row in rows] == [("0", "2"), ("2", "3")]
    ids = [site.enqueue("hang", until=site.out("six")) for _ in range(6)]
    until(lambda: len(worker.holding()) == 5, 30, "five that run")
    for shown in (_run(site, "status")["workers"], _run(site, "workers")["items"]):
        assert [(one["lane"], one["state"], one["slots"], len(one["tasks"])) for one in shown] == [
            ("work", "ready", 5, 5)
        ]
        assert shown[0]["pid"] == worker.process.pid
    name = rows[0]["name"]
    expected = {keys.RQ_WORKER + keys.rq_worker_name(name, "work", str(slot)) for slot in range(5)}
    until(lambda: {key.decode() for key in site.client.smembers(keys.RQ_WORKERS)} == expected, 15, "five rows of RQ's")
    slots = {site.task(task_id).slot for task_id in ids if site.task(task_id).state == lifecycle.RUNNING}
    assert slots == {"0", "1", "2", "3", "4"}
    (site.files / "six").touch()
    site.wait_all(ids, 60)
    worker.term()
    assert worker.wait(30) == 0
    assert site.client.smembers(keys.RQ_WORKERS) == set()
    assert worker.processes() == []


def test_a_burst_is_over_when_nothing_is_left(site: Site) -> None:
    """Both end, and every task has ended before."""
    ids = [_idle(site).enqueue("quick", word=str(number)) for number in range(12)]
    worker = site.start("--burst")
    assert worker.wait(60) == 0
    assert {site.task(task_id).state for task_id in ids} == {lifecycle.FINISHED_UNPROVEN}
    assert len({site.store.attempts(task_id)[0]["worker"] for task_id in ids}) == 1


def test_a_burst_waits_for_what_plain_rq_has_put_there(site: Site) -> None:
    """A job is no task until a reaper has seen it: an empty look before that is no end."""
    queue = Queue("work.quick", connection=_idle(site).client, serializer=JSONSerializer)
    job = queue.enqueue("proofq.run", {"word": "plain"})
    assert site.start("--burst").wait(60) == 0
    assert site.task(job.id).state == lifecycle.FINISHED_UNPROVEN
