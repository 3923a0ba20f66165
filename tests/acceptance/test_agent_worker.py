"""`rq worker -w proofq.AgentWorker`: RQ's own command line starts a worker of ours, with every guarantee."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rq import Queue, Worker
from rq.command import send_shutdown_command
from rq.serializers import JSONSerializer

from proofq.policies import lifecycle
from proofq.workers.audit import Audit
from tests.acceptance.harness import Site, one_end
from tests.waiting import until

MARK = 900


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as made:
        yield made


def start(site: Site, *words: str, log: str = "rq-worker.log") -> subprocess.Popen[bytes]:
    """`rq worker -w proofq.AgentWorker WORDS` in the project."""
    command = [str(Path(sys.executable).with_name("rq")), "worker", "-w", "proofq.AgentWorker"]
    environ = {name: text for name, text in site.environ(MARK).items() if name != "PROOFQ_REDIS_URL"}
    with (site.root / log).open("wb") as output:
        return subprocess.Popen(
            [*command, "--url", site.server.url, *words], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            cwd=site.project, env=environ, start_new_session=True,
        )  # fmt: skip


def said(site: Site) -> str:
    return (site.root / "rq-worker.log").read_text(errors="replace")


def one_row(site: Site) -> str:
    return until(lambda: [one.name for one in Worker.all(connection=site.client)], 40.0, "its row")[0]


def test_it_serves_its_queues_with_one_slot(site: Site) -> None:
    """A plain RQ job is proven, another agent's task waits, RQ's shutdown drains it, and nothing is left."""
    process = start(site, "-n", "theirs", "work.write", "work.hang")
    assert one_row(site) == "theirs.work.0"
    [row] = site.owner_rows().values()
    assert (row["name"], row["slots"], row["agents"]) == ("theirs", "1", "hang write")
    assert int(row["launcher_pid"]) == process.pid
    other = site.enqueue("quick")
    given = {"out": site.out("plain"), "text": "plain", "run_s": 0.2}
    job = Queue("work.write", connection=site.client, serializer=JSONSerializer).enqueue("proofq.run", given)
    until(lambda: site.client.exists(f"proofq:task:{job.id}"), 20.0, "the adoption")
    site.wait_for(job.id, lifecycle.VERIFIED, 30.0)
    assert one_end(site.snapshot(job.id)) == []
    assert site.task(other).state == lifecycle.QUEUED
    running = site.enqueue("write", out=site.out("drained"), text="drained", run_s=2.0)
    site.wait_for(running, lifecycle.RUNNING)
    send_shutdown_command(site.client, "theirs.work.0")
    assert process.wait(40.0) == 0
    assert (site.task(running).state, site.task(running).attempt) == (lifecycle.VERIFIED, 1)
    assert Worker.all(connection=site.client) == []
    site.wait_nothing_left()
    assert Audit(site.store).run().violations == []


def test_a_burst_ends_when_nothing_is_ready(site: Site) -> None:
    """`--burst`, as with any worker of RQ's, and `--with-scheduler` asks for what is done anyway."""
    task_id = site.enqueue("quick", word="burst")
    process = start(site, "--burst", "--with-scheduler", "work.quick")
    assert process.wait(60.0) == 0, said(site)
    assert site.task(task_id).state == lifecycle.FINISHED_UNPROVEN


def test_killed_it_loses_nothing(site: Site) -> None:
    """kill -9 of the process that RQ's people started: its tree dies, and the next such worker ends the task."""
    task_id = site.enqueue("write", out=site.out("killed"), text="killed", run_s=1.5)
    process = start(site, "work.write")
    site.wait_for(task_id, lifecycle.RUNNING, 40.0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    site.wait_nothing_left(10.0)
    start(site, "work.write", log="second.log")
    assert site.wait_for(task_id, lifecycle.VERIFIED, 60.0).attempt == 2
    assert one_end(site.snapshot(task_id)) == []


REFUSED = {
    "no queue of ours": (["default"], "queues of agents"),
    "two lanes": (["work.write", "meta.write"], "one lane"),
    "max-jobs": (["--max-jobs", "3", "work.write"], "--max-jobs"),
    "results-ttl": (["--results-ttl", "3", "work.write"], "--results-ttl"),
    "strategy": (["--dequeue-strategy", "random", "work.write"], "--dequeue-strategy"),
    "name": (["-n", "a b", "work.write"], "cannot be a worker's"),
    "unknown agent": (["work.nobody"], "work.nobody"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_it_does_not_do_is_refused(site: Site, case: str) -> None:
    """Exit 2 and one sentence that names it; nothing is leased, nothing is left."""
    words, why = REFUSED[case]
    task_id = site.enqueue("quick")
    process = start(site, *words)
    assert process.wait(60.0) == 2, said(site)
    assert why in said(site)
    assert "Traceback" not in said(site)
    assert site.task(task_id).state == lifecycle.QUEUED
    site.wait_nothing_left()
