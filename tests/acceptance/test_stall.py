"""Who shows no progress for `stall_after_s` is killed; who shows some, in any of the ways there are, lives on."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from proofq.policies import lifecycle
from proofq.workers import task_view
from tests.acceptance.harness import Site, one_end
from tests.waiting import until

#: Of every agent here.
STALL_AFTER_S = 1.5
#: Everything is dead so many seconds after it was found stalled, on a busy machine too; left alone it runs for 30 s.
WITHIN_S = 10.0
#: Seconds of work of those that live: more than two watches.
RUN_S = 4


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with a worker that is ready."""
    with Site() as one:
        one.start().wait_ready()
        yield one


def _stalled(site: Site, task_id: str) -> dict[str, Any]:
    """Wait until the task has failed as stalled after one attempt, with nothing left; the attempt's record."""
    task = site.wait_for(task_id, lifecycle.FAILED)
    assert task.failure is not None
    assert task.failure.kind == "stalled"
    assert f"stall_after_s of {STALL_AFTER_S:g}" in task.failure.reason
    snapshot = site.snapshot(task_id)
    assert one_end(snapshot) == []
    [record] = snapshot.attempts
    assert (record["outcome"], record["counted"], record["class"]) == ("failed", True, "stalled")
    own = {one.pid for worker in site.workers for one in worker.processes() if one.role != "child"}
    assert set(site.left()) - own == set()
    return record


@pytest.mark.parametrize(
    ("agent", "how"),
    [("steps", "silent"), ("claude_steps", "silent"), ("steps", "writes"), ("tells", "nothing"), ("tells", "equal")],
)
def test_no_progress(site: Site, agent: str, how: str) -> None:
    """Silence, a file that is no transcript, and evidence that stays the same: killed, failed, counted, once."""
    record = _stalled(site, site.enqueue(agent, how=how, run_s=30))
    lived_s = (record["ended_at"] - record["started_at"]) / 1000
    print(f"{agent} {how}: ended {lived_s:.2f} s after its start")
    assert STALL_AFTER_S <= lived_s <= STALL_AFTER_S + WITHIN_S


@pytest.mark.parametrize(
    ("agent", "how"),
    [("steps", "prints"), ("steps", "complains"), ("claude_steps", "writes"), ("tells", "changing")],
)
def test_progress(site: Site, agent: str, how: str) -> None:
    """Output, a growing transcript, and evidence that changes: each alone keeps an agent alive past its watch."""
    task_id = site.enqueue(agent, how=how, run_s=RUN_S)
    site.wait_for(task_id, lifecycle.FINISHED_UNPROVEN)
    [record] = site.snapshot(task_id).attempts
    assert record["ended_at"] - record["started_at"] >= 2 * STALL_AFTER_S * 1000


def test_a_stubborn_agent(site: Site) -> None:
    """One that swallows every signal and has processes everywhere is dead as soon."""
    record = _stalled(site, site.enqueue("stubborn_and_silent", token=str(random.randint(10**5, 10**6 - 1))))
    assert record["ended_at"] - record["started_at"] <= (STALL_AFTER_S + WITHIN_S) * 1000


def test_a_stopped_agent(site: Site) -> None:
    """An agent that prints all the time and then is stopped (SIGSTOP) is killed all the same."""
    task_id = site.enqueue("steps", how="prints", run_s=30)
    site.wait_for(task_id, lifecycle.RUNNING)
    first = site.snapshot(task_id).attempts[-1]["pid"]
    [shell] = [one for one in site.workers[0].processes("child") if one.pid == first]
    assert shell.signal(signal.SIGSTOP)
    _stalled(site, task_id)


def test_progress_is_shown(site: Site) -> None:
    """The latest evidence stands in the attempt's record while it runs, and the last one after its end."""
    task_id = site.enqueue("tells", how="changing", run_s=RUN_S)
    site.wait_for(task_id, lifecycle.RUNNING)

    def shown() -> dict[str, Any]:
        document = task_view.show(site.store, task_id, site.session.project.state_dir)
        found: dict[str, Any] = document["attempts"][0]
        return found

    until(lambda: shown()["progress"], 30.0, "its progress")
    assert site.task(task_id).state == lifecycle.RUNNING
    task = site.wait_for(task_id, lifecycle.FINISHED_UNPROVEN)
    assert shown()["progress"] == {"step": task.claim - 1}
    assert shown()["progress_at"] is not None
    quiet = site.enqueue("tells", how="nothing", run_s=0)
    site.wait_for(quiet, lifecycle.FINISHED_UNPROVEN)
    assert "progress" not in site.snapshot(quiet).attempts[0]
