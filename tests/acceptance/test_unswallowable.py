"""Agents that swallow every exception and signal and hide their processes everywhere: killed all the same."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator

import pytest

from proofq.policies import lifecycle
from proofq.workers.door import Event
from tests.acceptance.harness import Site
from tests.waiting import until

#: Everything an attempt has started is dead so many seconds after the reason to kill it.
WITHIN_S = 3.0
#: The agents' own timeout_s.
TIMEOUT_S = 2.0
AGENTS = ["stubborn", "stubborn_command"]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site without a worker yet."""
    with Site() as one:
        yield one


def _begin(site: Site, agent: str) -> tuple[str, int]:
    """Start the agent, and wait until it has spread; its task, and when it was started (server's ms)."""
    token = str(random.randint(10**5, 10**6 - 1))
    task_id = site.enqueue(agent, token=token)
    site.wait_for(task_id, lifecycle.RUNNING)
    until(lambda: len(_of_agent(site)) >= 8, TIMEOUT_S, "eight processes of the agent")
    return task_id, site.task(task_id).started_at or 0


def _of_agent(site: Site) -> set[int]:
    """Everything alive that is no process of a worker's own."""
    own = {one.pid for worker in site.workers for one in worker.processes() if one.role != "child"}
    return set(site.left()) - own


def _wait_dead(site: Site, within_s: float) -> float:
    """Wait until nothing of the agent is left; how long that took."""
    begun = time.monotonic()
    until(lambda: not _of_agent(site), within_s, "the end of all processes of the agent")
    return time.monotonic() - begun


@pytest.mark.parametrize("agent", AGENTS)
def test_deadline(site: Site, agent: str) -> None:
    """At the deadline and three seconds everything is dead, the task has failed, and the worker goes on."""
    worker = site.start().wait_ready()
    task_id, started_ms = _begin(site, agent)
    until(lambda: not _of_agent(site), TIMEOUT_S + WITHIN_S + 5.0, "the end of all processes of the agent")
    dead_s = (site.session.now_ms() - started_ms) / 1000 - TIMEOUT_S
    print(f"{agent}: everything dead {dead_s:.2f} s after the deadline")
    assert 0 <= dead_s <= WITHIN_S
    task = site.wait_for(task_id, lifecycle.FAILED)
    assert task.failure is not None
    assert task.failure.kind == "timeout"
    site.wait_for(site.enqueue("quick"), lifecycle.FINISHED_UNPROVEN)
    worker.term()
    assert worker.wait(30) == 0
    assert site.left() == []


@pytest.mark.parametrize("agent", AGENTS)
def test_cancel(site: Site, agent: str) -> None:
    """The same when it is cancelled."""
    worker = site.start().wait_ready()
    task_id, _ = _begin(site, agent)
    site.session.door.apply(task_id, Event("cancel", "test", "enough"))
    assert _wait_dead(site, WITHIN_S) <= WITHIN_S
    site.wait_for(task_id, lifecycle.CANCELLED)
    worker.term()
    assert worker.wait(30) == 0


def test_drain(site: Site) -> None:
    """The same when its worker drains without patience."""
    worker = site.start(drain_s=0).wait_ready()
    task_id, _ = _begin(site, "stubborn")
    worker.term()
    assert worker.wait(30) == 0
    assert site.left() == []
    assert site.events(task_id)[-1] == "give_back"
    site.session.door.apply(task_id, Event("cancel", "test", "enough"))


@pytest.mark.parametrize("victim", ["launcher", "supervisor", "forkserver", "child"])
def test_death_of_a_guard(site: Site, victim: str) -> None:
    """The same when a process of its worker, or the agent's own first process, is killed with -9."""
    worker = site.start().wait_ready()
    task_id, _ = _begin(site, "stubborn_command")
    before = set(site.left())
    if victim == "child":
        first = site.snapshot(task_id).attempts[-1]["pid"]
        killed = next(one for one in worker.processes("child") if one.pid == first)
    else:
        killed = worker.one(victim)
    # Nothing may start the task again, or the new attempt would be taken for the old one.
    site.session.door.apply(task_id, Event("cancel", "test", "no more"))
    assert killed.signal(signal.SIGKILL)
    until(lambda: not before & _of_agent(site), WITHIN_S, "the end of all processes of the agent")
    if victim == "launcher":
        until(lambda: not site.left(), WITHIN_S, "the end of the worker")
        worker = site.start().wait_ready()
    site.wait_for(task_id, lifecycle.CANCELLED)
    worker.term()
    assert worker.wait(30) == 0
    assert site.left() == []
