"""rq-dashboard, as the extra `web` installs it, beside real tasks in every state: people who know RQ see them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rq import Worker

from proofq.policies import lifecycle
from proofq.policies.lifecycle import RQ_STATUS, STATES, SUCCESS, TERMINAL
from proofq.workers.audit import Audit
from tests.acceptance.harness import Site
from tests.commands import Project
from tests.dashboards import Dashboard
from tests.servers import PrivateServer
from tests.waiting import until
from tests.workbench import Bench

QUEUE = "work.note"
#: Every list that the dashboard has of a queue.
LISTS = ("queued", "started", "deferred", "finished", "failed", "canceled", "scheduled")


@pytest.fixture
def dashboard(tmp_path: Path, redis_server: PrivateServer) -> Iterator[Dashboard]:
    """A running dashboard on the test's Redis."""
    with Dashboard(redis_server.url, tmp_path, "--disable-delete") as running:
        yield running


def listed(dashboard: Dashboard, status: str, queue: str = QUEUE) -> list[dict[str, Any]]:
    """The jobs of one list."""
    jobs: list[dict[str, Any]] = dashboard.document(f"/0/data/jobs/{queue}/{status}/50/asc/1.json")["jobs"]
    return jobs


def test_every_list_and_page_shows_every_state(project: Project, bench: Bench, dashboard: Dashboard) -> None:
    """A task in each of our twelve states: in exactly the list of its RQ status, its page and its JSON answer."""
    tasks = {}
    for state in [*STATES][1:]:
        tasks[state] = project.enqueue()
        bench.to(tasks[state], state)
    tasks[lifecycle.QUEUED] = project.enqueue()
    before = {task_id: bench.store.client.hgetall(f"rq:job:{task_id}") for task_id in tasks.values()}
    for status in LISTS:
        wanted = {task_id for state, task_id in tasks.items() if RQ_STATUS[state] == status}
        assert {job["id"] for job in listed(dashboard, status)} == wanted
        page = dashboard.page(f"/0/view/jobs/{QUEUE}/{status}/8/dsc/1")
        assert QUEUE in page
    for state, task_id in tasks.items():
        shown_as_it_is(dashboard, task_id, state)
    [queue] = dashboard.document("/0/data/queues.json")["queues"]
    assert (queue["name"], queue["count"]) == (QUEUE, 1)
    for status in set(LISTS) - {"queued"}:
        assert queue[f"{status}_job_registry_count"] == sum(RQ_STATUS[state] == status for state in tasks)
    for path in ("/", "/0/view/workers", "/0/view/jobs"):
        assert "<title>" in dashboard.page(path)
    # Looking moves nothing.
    assert {task_id: bench.store.client.hgetall(f"rq:job:{task_id}") for task_id in tasks.values()} == before
    assert Audit(bench.store).run().violations == []


def shown_as_it_is(dashboard: Dashboard, task_id: str, state: str) -> None:
    """The job's page and JSON: its status, its agent, its times, and why it ended where it failed."""
    assert task_id in dashboard.page(f"/0/view/job/{task_id}")
    job = dashboard.document(f"/0/data/job/{task_id}.json")
    assert (job["id"], job["origin"], job["status"], job["description"]) == (task_id, QUEUE, RQ_STATUS[state], "note")
    assert job["created_at"]
    assert bool(job["ended_at"]) == (state in TERMINAL)
    failed = state in TERMINAL - SUCCESS
    assert bool(job["exc_info"]) == failed


def test_pages_turn(project: Project, bench: Bench, dashboard: Dashboard) -> None:
    """More jobs than fit on a page: none is left out."""
    made = {project.enqueue() for _ in range(20)}
    pages = [dashboard.document(f"/0/data/jobs/{QUEUE}/queued/8/asc/{page}.json") for page in (1, 2, 3)]
    ids = [job["id"] for page in pages for job in page["jobs"]]
    # The dashboard itself shows more on a later page of a queue than belongs there.
    assert set(ids) == made
    assert pages[0]["pagination"]["num_pages"] == 3


def test_the_workers_page_shows_the_slots(tmp_path: Path) -> None:
    """Each slot of a real worker with its queues and its state, while a task runs; the task is among the started."""
    with Site({"slots": 2}) as site, Dashboard(site.server.url, tmp_path) as dashboard:
        site.start().wait_ready()
        task_id = site.enqueue("hang")
        site.wait_for(task_id, lifecycle.RUNNING)

        def busy() -> list[dict[str, Any]]:
            shown = dashboard.document("/0/data/workers.json")["workers"]
            return shown if [one for one in shown if one["state"] == "busy"] else []

        shown = until(busy, 20.0, "a busy slot")
        assert [one["state"] for one in shown] == ["busy", "idle"]
        assert "work.hang" in shown[0]["queues"]
        assert {one["name"] for one in shown} == {one.name for one in Worker.all(connection=site.client)}
        assert {one["pid"] for one in shown} == {site.workers[0].process.pid}
        assert re.search(r"workers", dashboard.page("/0/view/workers"), re.IGNORECASE)
        [job] = listed(dashboard, "started", "work.hang")
        assert job["id"] == task_id
