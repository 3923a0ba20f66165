"""RQ's people requeue everything: nothing runs that the table forbids, RQ's view is put right, and it is on record."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from rq.exceptions import InvalidJobOperation
from rq.job import Job
from rq.registry import BaseRegistry, FailedJobRegistry, FinishedJobRegistry
from rq.serializers import JSONSerializer

from proofq.policies import lifecycle
from proofq.workers import keys
from proofq.workers.audit import Audit
from tests.acceptance.harness import Site, crumbs_are_whole
from tests.dashboards import Dashboard
from tests.waiting import until
from tests.workbench import Bench

EACH = 50
QUEUE = "work.write"
STATES = (lifecycle.QUARANTINED, lifecycle.FAILED, lifecycle.VERIFIED)
#: Fields of RQ's hash that show where a task stands.
SHOWN = ("status", "started_at", "ended_at", "origin", "timeout", "result_ttl", "description")


@pytest.fixture
def site() -> Iterator[Site]:
    """150 tasks by the door's own moves, and no worker yet: none of their agents has ever run."""
    with Site({"slots": 4}) as made:
        yield made


def prepared(site: Site) -> dict[str, str]:
    """Id -> state. What would run writes a file under the task's own name."""
    bench = Bench(site.session, "write")
    made = {}
    for number in range(EACH * len(STATES)):
        name, state = f"{number}", STATES[number % len(STATES)]
        task_id = site.enqueue("write", out=site.out(name), text=name, run_s=0.0)
        bench.to(task_id, state)
        made[task_id] = state
    site.store.bury(bench.owner, "bench-host-id", {"dead": "1", "left": "1"})
    assert site.store.forget(bench.owner, "bench-host-id")
    return made


def by_dashboard(site: Site, _: Mapping[str, str]) -> None:
    """One click on "Requeue All", which a GET does as well, even where deleting is disabled."""
    with Dashboard(site.server.url, site.root, "--disable-delete") as dashboard:
        assert dashboard.document(f"/requeue/{QUEUE}")["count"] == 2 * EACH


def by_command(site: Site, _: Mapping[str, str]) -> None:
    """`rq requeue --all`."""
    command = [
        str(Path(sys.executable).with_name("rq")),
        "requeue",
        "--queue",
        QUEUE,
        "--all",
        "--url",
        site.server.url,
    ]
    subprocess.run([*command, "--serializer", "rq.serializers.JSONSerializer"], check=True, timeout=120)


def by_job(site: Site, tasks: Mapping[str, str]) -> None:
    """`Job.requeue` of every id."""
    for task_id in tasks:
        with suppress(InvalidJobOperation):
            Job.fetch(task_id, connection=site.client, serializer=JSONSerializer).requeue()


def by_hand(site: Site, tasks: Mapping[str, str]) -> None:
    """A raw LPUSH of every id."""
    site.client.lpush(keys.rq_queue(QUEUE), *tasks)


#: Who reaches which states: RQ itself requeues nothing that it has not among its failed jobs.
WAYS: dict[str, tuple[Callable[[Site, Mapping[str, str]], None], set[str]]] = {
    "rq-dashboard": (by_dashboard, {lifecycle.FAILED, lifecycle.QUARANTINED}),
    "rq requeue --all": (by_command, {lifecycle.FAILED, lifecycle.QUARANTINED}),
    "Job.requeue": (by_job, {lifecycle.FAILED, lifecycle.QUARANTINED}),
    "LPUSH": (by_hand, set(STATES)),
}


def shown(site: Site, task_id: str) -> dict[str, str]:
    """What RQ's hash says of where the task stands."""
    job = site.client.hgetall(keys.rq_job(task_id))
    return {name: job.get(name.encode(), b"").decode() for name in SHOWN}


@pytest.mark.parametrize("way", WAYS)
def test_what_the_table_forbids_does_not_run(site: Site, way: str) -> None:
    """The failed are replayed and proven, as by a person; nobody else runs, and each breadcrumb says that it was RQ."""
    requeue, reached = WAYS[way]
    tasks = prepared(site)
    before = {task_id: shown(site, task_id) for task_id in tasks}
    site.start().wait_ready()
    requeue(site, tasks)
    failed = [task_id for task_id, state in tasks.items() if state == lifecycle.FAILED]
    refused = [task_id for task_id, state in tasks.items() if state != lifecycle.FAILED and state in reached]
    until(lambda: {site.task(one).state for one in failed} == {lifecycle.VERIFIED}, 60.0, "the end of the replayed")
    until(lambda: all("refused:lease" in site.events(task_id) for task_id in refused), 60.0, "the refusals")
    until(lambda: not site.client.exists(keys.STRAYS, keys.rq_queue(QUEUE)), 20.0, "an empty queue, and no strays")
    for task_id, state in tasks.items():
        snapshot = site.snapshot(task_id)
        assert crumbs_are_whole(snapshot) == []
        said = [crumb for crumb in snapshot.crumbs if crumb.event in {"replay", "refused:lease"}]
        wanted = "replay" if state == lifecycle.FAILED else "refused:lease"
        assert [(crumb.event, crumb.who) for crumb in said] == ([(wanted, "rq")] if state in reached else [])
        if state != lifecycle.FAILED:
            assert (snapshot.task.state, snapshot.task.attempt) == (state, 1)
            assert same(before[task_id], shown(site, task_id))
    ran = {int(path.name) for path in site.files.iterdir()}
    assert ran == {number for number in range(EACH * len(STATES)) if STATES[number % len(STATES)] == lifecycle.FAILED}
    assert members(site, FailedJobRegistry) == {one for one, state in tasks.items() if state == lifecycle.QUARANTINED}
    assert members(site, FinishedJobRegistry) == {one for one, state in tasks.items() if state != lifecycle.QUARANTINED}
    assert Audit(site.store).run().violations == []


def members(site: Site, registry: type[BaseRegistry]) -> set[str]:
    return set(registry(QUEUE, connection=site.client).get_job_ids(cleanup=False))


def same(before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    """The texts are equal, and the times but for what a worker's clock and the server's lie apart."""
    times = [name for name in SHOWN if name.endswith("_at")]
    apart = [datetime.fromisoformat(before[name]) - datetime.fromisoformat(after[name]) for name in times]
    texts = [name for name in SHOWN if name not in times]
    return all(before[name] == after[name] for name in texts) and max(map(abs, apart)) < timedelta(seconds=1)
