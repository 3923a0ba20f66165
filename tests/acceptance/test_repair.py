"""Output that is refused is tried again, a bounded number of times, by an attempt that is told why."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from proofq.policies import lifecycle
from tests.acceptance.harness import Site, one_end

#: What the schema of the agents here says of their first answer.
WHY = "is not of type 'integer'"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with a worker that is ready."""
    with Site() as one:
        one.start().wait_ready()
        yield one


def _classes(site: Site, task_id: str) -> list[str | None]:
    snapshot = site.snapshot(task_id)
    assert one_end(snapshot) == []
    return [record.get("class") for record in snapshot.attempts]


def test_told_and_mended(site: Site) -> None:
    """The second attempt knows what was wrong with the first one's output, and mends it."""
    task = site.wait_for(site.enqueue("answers", how="learns"), lifecycle.VERIFIED)
    [first, second] = task.claim["told"]
    assert first is None
    assert WHY in second
    assert _classes(site, task.id) == ["malformed_output", None]


def test_never_mended(site: Site) -> None:
    """Who does not learn fails when its attempts are spent: each of them counts."""
    task = site.wait_for(site.enqueue("answers", how="never"), lifecycle.FAILED)
    assert task.failure is not None
    assert (task.failure.kind, task.attempt, task.counted) == ("malformed_output", 3, 3)
    assert WHY in task.failure.reason
    assert _classes(site, task.id) == ["malformed_output"] * 3


def test_another_failure_ends_it(site: Site) -> None:
    """An attempt after a crash is not told of the output before the crash."""
    task = site.wait_for(site.enqueue("answers", how="crashes_between"), lifecycle.VERIFIED)
    assert [told and WHY in told for told in task.claim["told"]] == [None, True, None]
    assert _classes(site, task.id) == ["malformed_output", "crash", None]


def test_a_command_is_told_by_its_environment(site: Site) -> None:
    """PROOFQ_REPAIR is not set at first, and then says why."""
    task = site.wait_for(site.enqueue("answers_in_json"), lifecycle.VERIFIED)
    assert task.claim["told"].startswith("its stdout is not one strict JSON document")
    assert _classes(site, task.id) == ["malformed_output", None]


def test_a_death_between_changes_nothing() -> None:
    """The attempt after one that died with its worker is still told."""
    with Site() as site:
        worker = site.start().wait_ready()
        task_id = site.enqueue("answers", how="hangs_second")
        site.wait_for(task_id, lifecycle.DEFERRED)
        site.wait_for(task_id, lifecycle.RUNNING)
        assert site.task(task_id).attempt == 2
        worker.signal_all(signal.SIGKILL)
        site.start().wait_ready()
        task = site.wait_for(task_id, lifecycle.VERIFIED, 60.0)
        assert WHY in task.claim["told"][-1]
        assert _classes(site, task_id) == ["malformed_output", "lost_worker", None]
