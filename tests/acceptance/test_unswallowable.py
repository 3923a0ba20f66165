"""Agents that swallow every exception and signal and hide their processes everywhere: killed all the same."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator

import pytest

from proofq.policies import lifecycle
from proofq.workers.door import Event
from tests.acceptance.harness import Site, Worker
from tests.waiting import until

#: Everything an attempt has started is dead so many seconds after the reason to kill it.
WITHIN_S = 3.0
#: The timeout_s of the two that have a deadline.
TIMEOUT_S = 3.0


def _begin(site: Site, agent: str) -> tuple[str, int]:
    """Start the agent, and wait until it has spread; its task, and when it was started (server's ms)."""
    task_id = site.enqueue(agent, token=str(random.randint(10**5, 10**6 - 1)))
    site.wait_for(task_id, lifecycle.RUNNING)
    until(lambda: len(_of_agents(site)) >= 8, TIMEOUT_S, "eight processes of the agent")
    return task_id, site.task(task_id).started_at or 0


def _of_agents(site: Site) -> set[int]:
    """Everything alive that is no process of a worker's own."""
    own = {one.pid for worker in site.workers for one in worker.processes() if one.role != "child"}
    return set(site.left()) - own


def _wait_dead(site: Site, agents: set[int]) -> float:
    """Wait until none of these is left; how long that took, in seconds."""
    begun = time.monotonic()
    until(lambda: not agents & set(site.left()), WITHIN_S, "the end of all processes of the agent")
    return time.monotonic() - begun


@pytest.fixture(scope="module")
def served() -> Iterator[Site]:
    """A site whose worker lives until a test drains it, without patience."""
    with Site() as site:
        yield site


def _worker(site: Site) -> Worker:
    """Its worker; a new one where a test drained the last."""
    running = [worker for worker in site.workers if worker.process.poll() is None]
    return (running[0] if running else site.start(drain_s=0)).wait_ready()


@pytest.mark.parametrize("agent", ["stubborn", "stubborn_command"])
def test_deadline(served: Site, agent: str) -> None:
    """At the deadline and three seconds everything is dead, the task has failed, and the worker goes on."""
    site = served
    _worker(site)
    task_id, started_ms = _begin(site, agent)
    until(lambda: not _of_agents(site), TIMEOUT_S + WITHIN_S + 5.0, "the end of all processes of the agent")
    dead_s = (site.session.now_ms() - started_ms) / 1000 - TIMEOUT_S
    print(f"{agent}: everything dead {dead_s:.2f} s after the deadline")
    assert 0 <= dead_s <= WITHIN_S
    task = site.wait_for(task_id, lifecycle.FAILED)
    assert task.failure is not None
    assert task.failure.kind == "timeout"
    site.wait_for(site.enqueue("quick"), lifecycle.FINISHED_UNPROVEN)


def test_cancel_and_drain(served: Site) -> None:
    """The same when it is cancelled, and when its worker drains without patience."""
    site, worker = served, _worker(served)
    task_id, _ = _begin(site, "stubborn_for_long")
    agents = _of_agents(site)
    site.session.door.apply(task_id, Event("cancel", "test", "enough"))
    print(f"cancelled: everything dead after {_wait_dead(site, agents):.2f} s")
    site.wait_for(task_id, lifecycle.CANCELLED)
    task_id, _ = _begin(site, "stubborn_for_long")
    agents = _of_agents(site)
    worker.term()
    print(f"drained: everything dead after {_wait_dead(site, agents):.2f} s")
    assert worker.wait(30) == 0
    assert site.left() == []
    assert site.events(task_id)[-1] == "give_back"


def test_death_of_a_guard() -> None:
    """The same when any process of its worker, or the agent's own first process, is killed with -9."""
    with Site() as site:
        worker = site.start().wait_ready()
        for victim in ("child", "forkserver", "supervisor", "launcher"):
            task_id, _ = _begin(site, "stubborn_for_long")
            agents = _of_agents(site)
            # Before anybody hears of it: what is asked now holds although the guard dies.
            assert site.session.door.apply(task_id, Event("cancel", "test", "no more")).ok
            assert _victim(site, worker, victim, task_id)
            print(f"{victim} killed: everything dead after {_wait_dead(site, agents):.2f} s")
            if victim == "launcher":
                site.wait_nothing_left()
                worker = site.start().wait_ready()
            site.wait_for(task_id, lifecycle.CANCELLED)
        worker.term()
        assert worker.wait(30) == 0
        assert site.left() == []


def _victim(site: Site, worker: Worker, role: str, task_id: str) -> bool:
    """Kill the process of this role; the child is the first process of the task's attempt."""
    first = site.snapshot(task_id).attempts[-1]["pid"]
    found = worker.processes("child") if role == "child" else [worker.one(role)]
    return next(one for one in found if role != "child" or one.pid == first).signal(signal.SIGKILL)
