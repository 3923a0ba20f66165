"""Real workers tell followers and delete what is kept no longer."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta, timezone

from proofq.policies.settlement import Limits
from proofq.workers import fleet, keys, status, why
from proofq.workers.audit import Audit
from proofq.workers.door import Door, Event
from proofq.workers.producer import Request
from tests.acceptance.harness import Site
from tests.waiting import until


def test_a_chain_through_real_workers() -> None:
    """Each begins once the one before is verified; what waits for a failure expires with its class, down the chain."""
    with Site() as site:
        worker = site.start().wait_ready()
        done = [site.enqueue("loop", out=site.out("0"), text="0", run_s=0.2)]
        for number in range(1, 4):
            after = Request(after=[done[-1]])
            done.append(site.enqueue("loop", after, out=site.out(str(number)), text=str(number), run_s=0.05))
        bad = site.enqueue("exit_code", code=1)
        lost = [bad]
        for _ in range(3):
            lost.append(site.enqueue("exit_code", Request(after=[lost[-1]]), code=0))
        site.wait_all([*done, *lost], 60.0)
        assert {site.task(one).state for one in done} == {"verified"}
        spans = [site.snapshot(one).attempts[0] for one in done]
        ends = [before["ended_at"] <= after["leased_at"] for before, after in itertools.pairwise(spans)]
        assert ends == [True] * 3
        first = site.task(bad).failure
        assert first is not None
        for one in lost[1:]:
            task = site.task(one)
            assert (task.state, task.attempt) == ("expired", 0)
            assert task.failure is not None
            assert task.failure.kind == first.kind
        assert Audit(site.store).run().violations == []
        worker.term()
        assert worker.wait(30.0) == 0


def test_a_time_is_kept() -> None:
    """By the clock of Redis, never earlier; with other tasks before it, once both have come."""
    with Site() as site:
        site.start().wait_ready()
        due = datetime.fromtimestamp(site.session.now_ms() / 1000 + 1.5, UTC).astimezone(timezone(timedelta(hours=5)))
        first = site.enqueue("loop", Request(not_before=due.isoformat()), out=site.out("a"), text="a", run_s=0.0)
        both = site.enqueue("loop", Request(not_before=due, after=[first]), out=site.out("b"), text="b", run_s=0.0)
        assert (site.task(first).state, site.task(both).state) == ("deferred", "deferred")
        for task_id in (first, both):
            site.wait_for(task_id, "verified")
            assert site.snapshot(task_id).attempts[0]["leased_at"] >= due.timestamp() * 1000
        assert site.events(first)[:3] == ["enqueue_later", "due", "lease"]
        assert site.events(both)[:3] == ["enqueue_after", "release", "lease"]


def test_a_worker_deletes_what_is_kept_no_longer() -> None:
    """At its first look, and only that; the state of the queue stays whole."""
    with Site() as site:
        old = site.enqueue("loop", out=site.out("a"), text="a", run_s=0.0)
        assert site.start("--burst").wait(60.0) == 0
        assert site.task(old).state == "verified"
        worker = site.start(environ={"PROOFQ_RETENTION_VERIFIED_S": "0"}).wait_ready()
        kept = site.enqueue("exit_code", code=1)
        site.wait_for(kept, {"failed", "quarantined"})
        until(lambda: not site.client.exists(keys.task(old)), 30.0, "the deletion of what had ended")
        assert site.client.exists(keys.task(kept))
        assert Audit(site.store).run().violations == []
        until(lambda: "purged" in worker.log(), 10.0, "a word of it")


def test_a_full_disk_stops_leasing_and_breaks_nothing() -> None:
    """Past the quota folders of ended tasks go; then nothing more is leased, with the reason, until there is room."""
    with Site() as site:
        site.start(environ={"PROOFQ_DISK_QUOTA_MIB": "2"}).wait_ready()
        ended = site.enqueue("loop", out=site.out("a"), text="a", run_s=0.0)
        site.wait_for(ended, "verified")
        running = site.enqueue("loop", out=site.out("b"), text="b", run_s=60.0)
        site.wait_for(running, "running")
        folder = site.session.project.state_dir / "tasks"
        (folder / running / "1" / "work" / "large").write_bytes(b"x" * 3_000_000)
        until(lambda: not (folder / ended).exists(), 30.0, "the removal of the folder of what had ended")
        until(lambda: [one.state for one in fleet.owners(site.store)] == ["full"], 30.0, "a worker that is full")
        waiting = site.enqueue("exit_code", code=0)
        found = status.read(site.store)
        assert any("takes no task: its tasks' folders take 3 MiB" in one for one in found.attention())
        assert "has room for it on its disk" in why.why(site.store, waiting).text
        assert (site.task(waiting).state, site.task(running).state) == ("queued", "running")
        assert Door(site.store, Limits()).apply(running, Event("cancel", "test")).ok
        site.wait_for(waiting, "finished_unproven", 40.0)
        until(lambda: [one.state for one in fleet.owners(site.store)] == ["ready"], 30.0, "a worker that is ready")
