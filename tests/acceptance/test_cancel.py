"""A cancel is obeyed in every state, and nothing of the task runs on; and one key is one task."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from proofq.policies import lifecycle
from proofq.workers import proctree
from proofq.workers.door import Event
from proofq.workers.producer import Request
from tests.acceptance.harness import Site, Worker, one_end
from tests.waiting import until

#: Seconds from the cancel to the end: what was killed is dead within three.
WITHIN_S = 5.0


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site whose worker is ready; its tests leave nothing running."""
    with Site() as one:
        one.start().wait_ready()
        yield one


def _cancel(site: Site, task_id: str) -> None:
    assert site.session.door.apply(task_id, Event("cancel", "test", "enough")).ok
    site.wait_for(task_id, lifecycle.CANCELLED, WITHIN_S)
    snapshot = site.snapshot(task_id)
    assert one_end(snapshot) == []
    assert all(record["outcome"] == "cancelled" and not record["counted"] for record in snapshot.attempts)
    for record in snapshot.attempts:
        if "pid" in record:
            assert _is_gone(record["pid"], record["start_ticks"])


def _is_gone(pid: int, start_ticks: int) -> bool:
    now = proctree.read(pid)
    return now is None or now.dead or now.start_ticks != start_ticks


def test_cancel_queued() -> None:
    """A task that waits for a worker is cancelled at once, and is never leased."""
    with Site() as site:
        task_id = site.enqueue("quick")
        _cancel(site, task_id)
        site.start("--burst").wait(30)
        assert site.events(task_id) == ["enqueue", "cancel"]


def test_cancel_deferred(site: Site) -> None:
    """A task that waits for its time is cancelled at once, and its time never comes."""
    due = datetime.now(UTC) + timedelta(seconds=1)
    task_id = site.enqueue("quick", Request(not_before=due))
    assert site.task(task_id).state == lifecycle.DEFERRED
    _cancel(site, task_id)
    later = site.enqueue("quick", Request(not_before=due + timedelta(seconds=0.5)))
    site.wait_for(later, lifecycle.FINISHED_UNPROVEN)
    assert site.events(task_id) == ["enqueue_later", "cancel"]


def test_cancel_leased(site: Site) -> None:
    """A task whose proofs look before the first attempt is cancelled before anything starts."""
    task_id = site.enqueue("judged_write", out=site.out("leased"), text="x", run_s=30.0, proof_s=4.0)
    site.wait_for(task_id, lifecycle.LEASED)
    _cancel(site, task_id)
    assert "start" not in site.events(task_id)


@pytest.mark.parametrize("agent", ["hang", "hang_command"])
def test_cancel_running(site: Site, agent: str) -> None:
    """A running agent is killed, and its slot is free again."""
    task_id = site.enqueue(agent)
    site.wait_for(task_id, lifecycle.RUNNING)
    _cancel(site, task_id)
    site.wait_for(site.enqueue("quick"), lifecycle.FINISHED_UNPROVEN)


def test_cancel_claimed_done(site: Site) -> None:
    """A claim that is being proven is cancelled once the proof has had its say, whatever it says."""
    task_id = site.enqueue("judged_loop", out=site.out("claimed"), text="x", run_s=0.1, proof_s=2.0)
    site.wait_for(task_id, lifecycle.CLAIMED_DONE)
    _cancel(site, task_id)


def test_cancel_held(site: Site) -> None:
    """A task that waits for a human is cancelled at once."""
    task_id = site.enqueue("undecidable")
    site.wait_for(task_id, lifecycle.HELD)
    assert site.session.door.apply(task_id, Event("cancel", "test", "enough")).ok
    assert site.task(task_id).state == lifecycle.CANCELLED
    assert one_end(site.snapshot(task_id)) == []


def test_cancel_of_a_stopped_agent(site: Site) -> None:
    """An agent that stands still (SIGSTOP) is killed all the same."""
    task_id = site.enqueue("hang_command")
    site.wait_for(task_id, lifecycle.RUNNING)
    worker: Worker = site.workers[-1]
    pid = site.snapshot(task_id).attempts[-1]["pid"]
    agent = next(one for one in worker.processes("child") if one.pid == pid)
    agent.signal(19)
    until(lambda: (now := proctree.read(pid)) is not None and now.state == "T", 20.0, "the stop")
    _cancel(site, task_id)
