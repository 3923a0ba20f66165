"""Tasks that kill: their worker each time, or only themselves. They are taken out, and the others go on."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from proofq.policies import lifecycle
from tests.acceptance.harness import Site, one_end

#: The bound that the settings give.
MAX_DEATHS = 2


@pytest.mark.parametrize("whom", ["forkserver", "launcher"])
def test_task_that_kills_its_worker(whom: str) -> None:
    """Quarantined as lost_worker when it has cost max_deaths workers; those who come and go beside it are proven."""
    with Site({"slots": 2, "meta_slots": 0, "max_deaths": MAX_DEATHS}) as site:
        worker = site.start().wait_ready()
        poison = site.enqueue("poison", whom=whom)
        beside = [site.enqueue("write", out=site.out(f"{n}"), text=f"{n}", run_s=0.2) for n in range(6)]
        while site.task(poison).state not in lifecycle.TERMINAL:
            # A worker whose launcher died is started again by whoever runs it.
            if worker.process.poll() is not None:
                worker = site.start()
            time.sleep(0.02)
        task = site.task(poison)
        assert (task.state, task.deaths) == (lifecycle.QUARANTINED, MAX_DEATHS)
        assert task.failure is not None
        assert task.failure.kind == "lost_worker"
        if worker.process.poll() is not None:
            worker = site.start()
        site.wait_all(beside, 30.0)
        assert {one.state for one in site.store.read_many(beside)} == {lifecycle.VERIFIED}
        assert [line for task_id in [poison, *beside] for line in one_end(site.snapshot(task_id))] == []
        worker.wait_ready().term()
        assert worker.wait(40) == 0
        assert site.left() == []


def test_the_neighbour_of_a_task_that_kills_is_not_quarantined_with_it() -> None:
    """Both were there when the supervisor died, so they are tried apart: one is proven, the other taken out."""
    with Site({"slots": 2, "meta_slots": 0, "max_deaths": MAX_DEATHS}) as site:
        beside = site.enqueue("write", out=site.out("beside"), text="beside", run_s=1.0)
        poison = site.enqueue("poison", whom="supervisor")
        worker = site.start()
        site.wait_all([beside, poison], 60.0)
        ended = {one.id: (one.state, one.deaths) for one in site.store.read_many([beside, poison])}
        assert ended == {beside: (lifecycle.VERIFIED, 1), poison: (lifecycle.QUARANTINED, MAX_DEATHS)}
        failure = site.task(poison).failure
        assert failure is not None
        assert failure.kind == "lost_worker"
        assert [line for task_id in (poison, beside) for line in one_end(site.snapshot(task_id))] == []
        worker.wait_ready().term()
        assert worker.wait(40) == 0
        assert site.left() == []


@pytest.mark.parametrize(
    ("how", "kind", "state"),
    [
        ("raise", "crash", lifecycle.QUARANTINED),
        ("sigkill", "resource", lifecycle.QUARANTINED),
        ("sigsegv", "crash", lifecycle.QUARANTINED),
        ("os_exit_0", "crash", lifecycle.QUARANTINED),
        ("sys_exit_3", "crash", lifecycle.QUARANTINED),
    ],
)
def test_task_that_kills_itself(calm: Site, how: str, kind: str, state: str) -> None:
    """It costs attempts and nobody else anything: the same processes serve the next task."""
    worker = calm.workers[0]
    before = [worker.one(role) for role in ("launcher", "supervisor", "forkserver")]
    task_id = calm.enqueue("broken", how=how)
    task = calm.wait_for(task_id, state)
    assert task.failure is not None
    assert task.failure.kind == kind
    assert (task.counted, task.deaths) == (2, 0)
    calm.wait_for(calm.enqueue("quick"), lifecycle.FINISHED_UNPROVEN)
    assert [worker.one(role) for role in ("launcher", "supervisor", "forkserver")] == before


@pytest.fixture(scope="module")
def calm() -> Iterator[Site]:
    """A site whose worker lives through all of it."""
    with Site() as site:
        site.start().wait_ready()
        yield site
