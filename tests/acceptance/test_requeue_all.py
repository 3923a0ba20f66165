"""RQ's people requeue everything: nothing runs that the table forbids, RQ's view is put right, and it is on record."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
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
STATES = (lifecycle.QUARANTINED, lifecycle.FAILED, lifecycle.VERIFIED)
#: Fields of RQ's hash that show where a task stands.
SHOWN = ("status", "started_at", "ended_at", "origin", "timeout", "result_ttl", "description")


#: One agent for each way, so that nobody's "all" is another's.
AGENT = """
[agents.WAY]
command = ["/bin/sh", "-c", "echo done $1 > $2", "sh", "{text}", "{out}"]
inputs = { text = "str", out = "str" }
pass_env = ["PQ_SITE_MARK"]
timeout_s = 60
max_attempts = 50
proofs = [{ kind = "file", path = "{out}", contains = "done {text}" }]
"""


@dataclass
class Way:
    """Who requeues. `tasks`: id -> state. What would run writes a file under the agent's and the task's own name."""

    site: Site
    agent: str
    tasks: dict[str, str]

    @property
    def queue(self) -> str:
        return f"work.{self.agent}"


@pytest.fixture(scope="module")
def ways() -> Iterator[dict[str, Way]]:
    """150 tasks of each by the door's own moves, none of whose agents has ever run, and then a worker."""
    with Site({"slots": 4}) as site:
        made = {way: Way(site, f"way{number}", {}) for number, way in enumerate(WAYS)}
        with (site.project / "proofq.toml").open("a") as toml:
            toml.writelines(AGENT.replace("WAY", way.agent) for way in made.values())
        bench = Bench(site.session, *(way.agent for way in made.values()))
        for way in made.values():
            for number in range(EACH * len(STATES)):
                name, state = f"{way.agent}-{number}", STATES[number % len(STATES)]
                task_id = site.enqueue(way.agent, out=site.out(name), text=name)
                bench.to(task_id, state)
                way.tasks[task_id] = state
        site.store.bury(bench.owner, "bench-host-id", {"dead": "1", "left": "1"})
        assert site.store.forget(bench.owner, "bench-host-id")
        site.start().wait_ready()
        yield made


def by_dashboard(way: Way) -> None:
    """One click on "Requeue All", which a GET does as well, even where deleting is disabled."""
    with Dashboard(way.site.server.url, way.site.root, "--disable-delete") as dashboard:
        assert dashboard.document(f"/requeue/{way.queue}")["count"] == 2 * EACH


def by_command(way: Way) -> None:
    """`rq requeue --all`."""
    command = [
        str(Path(sys.executable).with_name("rq")),
        "requeue",
        "--queue",
        way.queue,
        "--all",
        "--url",
        way.site.server.url,
    ]
    subprocess.run([*command, "--serializer", "rq.serializers.JSONSerializer"], check=True, timeout=120)


def by_job(way: Way) -> None:
    """`Job.requeue` of every id."""
    for task_id in way.tasks:
        with suppress(InvalidJobOperation):
            Job.fetch(task_id, connection=way.site.client, serializer=JSONSerializer).requeue()


def by_hand(way: Way) -> None:
    """A raw LPUSH of every id."""
    way.site.client.lpush(keys.rq_queue(way.queue), *way.tasks)


#: Who reaches which states: RQ itself requeues nothing that it has not among its failed jobs.
WAYS: dict[str, tuple[Callable[[Way], None], set[str]]] = {
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
def test_what_the_table_forbids_does_not_run(ways: dict[str, Way], way: str) -> None:
    """The failed are replayed and proven, as by a person; nobody else runs, and each breadcrumb says that it was RQ."""
    requeue, reached = WAYS[way]
    mine = ways[way]
    site, tasks, queue = mine.site, mine.tasks, mine.queue
    before = {task_id: shown(site, task_id) for task_id in tasks}
    requeue(mine)
    failed = [task_id for task_id, state in tasks.items() if state == lifecycle.FAILED]
    refused = [task_id for task_id, state in tasks.items() if state != lifecycle.FAILED and state in reached]
    until(lambda: {site.task(one).state for one in failed} == {lifecycle.VERIFIED}, 60.0, "the end of the replayed")
    until(lambda: all("refused:lease" in site.events(task_id) for task_id in refused), 60.0, "the refusals")
    until(lambda: not site.client.exists(keys.STRAYS, keys.rq_queue(queue)), 30.0, "an empty queue, and no strays")
    for task_id, state in tasks.items():
        snapshot = site.snapshot(task_id)
        assert crumbs_are_whole(snapshot) == []
        said = [crumb for crumb in snapshot.crumbs if crumb.event in {"replay", "refused:lease"}]
        wanted = "replay" if state == lifecycle.FAILED else "refused:lease"
        assert [(crumb.event, crumb.who) for crumb in said] == ([(wanted, "rq")] if state in reached else [])
        if state != lifecycle.FAILED:
            assert (snapshot.task.state, snapshot.task.attempt) == (state, 1)
            assert same(before[task_id], shown(site, task_id))
    ran = {int(path.name.partition("-")[2]) for path in site.files.glob(f"{mine.agent}-*")}
    assert ran == {number for number in range(EACH * len(STATES)) if STATES[number % len(STATES)] == lifecycle.FAILED}
    assert members(mine, FailedJobRegistry) == {one for one, state in tasks.items() if state == lifecycle.QUARANTINED}
    assert members(mine, FinishedJobRegistry) == {one for one, state in tasks.items() if state != lifecycle.QUARANTINED}
    assert Audit(site.store).run().violations == []


def members(way: Way, registry: type[BaseRegistry]) -> set[str]:
    return set(registry(way.queue, connection=way.site.client).get_job_ids(cleanup=False))


def same(before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    """The texts are equal, and the times but for what a worker's clock and the server's lie apart."""
    times = [name for name in SHOWN if name.endswith("_at")]
    apart = [datetime.fromisoformat(before[name]) - datetime.fromisoformat(after[name]) for name in times]
    texts = [name for name in SHOWN if name not in times]
    return all(before[name] == after[name] for name in texts) and max(map(abs, apart)) < timedelta(seconds=1)
