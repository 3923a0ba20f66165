"""A worker that is told to leave leaves in time, and costs no task anything."""

from __future__ import annotations

import secrets
import time

import pytest

from proofq.policies import lifecycle
from tests.acceptance.drain import drains
from tests.acceptance.harness import Site


@pytest.mark.timeout(150)
def test_term_at_random_moments() -> None:
    """Gone within drain_s + 5 s with exit code 0, nothing counted, nothing left; the next worker ends every task."""
    seed = secrets.token_hex(4)
    print(f"seed {seed}")
    found, wrong = drains(4, seed)
    assert wrong == []
    assert [line for drain in found for line in drain.wrong] == []


def test_second_term_skips_the_drain() -> None:
    """With a minute to drain, the second TERM ends it at once; the task is given back uncounted."""
    with Site() as site:
        worker = site.start(drain_s=60).wait_ready()
        task_id = site.enqueue("hang")
        site.wait_for(task_id, lifecycle.RUNNING)
        worker.term()
        site.wait_owner_state(worker, "draining")
        begun = time.monotonic()
        worker.term()
        assert worker.wait(30) == 0
        assert time.monotonic() - begun < 25.0
        assert site.left() == []
        snapshot = site.snapshot(task_id)
        assert (snapshot.task.state, snapshot.task.counted, snapshot.task.deaths) == (lifecycle.QUEUED, 0, 0)
        assert snapshot.attempts[-1]["outcome"] == "given_back"


def test_draining_worker_ends_what_it_has_and_takes_nothing_new() -> None:
    """What runs may end by itself; what is queued meanwhile stays queued."""
    with Site({"slots": 1, "meta_slots": 0}) as site:
        worker = site.start(drain_s=30).wait_ready()
        task_id = site.enqueue("write", out=site.out("a"), text="a", run_s=1.5)
        site.wait_for(task_id, lifecycle.RUNNING)
        worker.term()
        site.wait_owner_state(worker, "draining")
        later = site.enqueue("quick")
        assert worker.wait(30) == 0
        assert site.task(task_id).state == lifecycle.VERIFIED
        assert site.events(later) == ["enqueue"]
        assert site.left() == []


def test_claim_left_by_a_drain_is_judged_by_the_next_worker() -> None:
    """The proof outlasts the drain: the claim stays, and the next worker reads its proofs without running it again."""
    with Site() as site:
        worker = site.start(drain_s=0).wait_ready()
        task_id = site.enqueue("judged_loop", out=site.out("a"), text="a", run_s=0.1, proof_s=5.0)
        site.wait_for(task_id, lifecycle.CLAIMED_DONE)
        worker.term()
        assert worker.wait(5 + 5) == 0
        assert site.left() == []
        assert site.task(task_id).state == lifecycle.CLAIMED_DONE
        site.start().wait_ready()
        site.wait_for(task_id, lifecycle.VERIFIED)
        snapshot = site.snapshot(task_id)
        assert (snapshot.task.attempt, snapshot.task.deaths) == (1, 0)
