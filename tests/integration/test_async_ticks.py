"""An async attempt begins only once what it writes is newer than every marker of its baseline."""

from __future__ import annotations

import time

import pytest

from proofq.workers.async_hosts import AsyncHosts
from proofq.workers.async_running import AsyncRunning
from proofq.workers.clock import SystemClock
from tests.spawning import ENV, Bench, config


@pytest.fixture
def bench():
    """A spawner of its own."""
    made = Bench(config())
    yield made
    made.spawner.close()


def test_nothing_of_it_runs_before_the_file_systems_clock_has_moved_on(bench, tmp_path):
    """However late that is; a neighbour without a marker does not wait for it."""
    hosts = AsyncHosts(bench.spawner, tmp_path / "hosts", SystemClock(), 10.0)
    host = hosts.of("touch_async", lambda: ENV, (), single=False)

    def run(name, ticks):
        attempt = AsyncRunning(tmp_path / f"{name}.out", tmp_path / f"{name}.err", ())
        inputs = {"path": str(tmp_path / name)}
        told = {"inputs": inputs, "task_id": name, "attempt": 1, "workdir": "/", "taskdir": "/", "ticks": ticks}
        host.run(attempt, told)
        return attempt

    try:
        assert run("first", []).wait_ended(30), "the process is up"
        marker_ns = time.time_ns() + 2_000_000_000
        late = run("late", [(str(tmp_path), marker_ns - 500_000_000), (str(tmp_path), marker_ns)])
        early = run("early", [])
        assert early.wait_ended(20)
        assert late.wait_ended(20)
        assert late.ending().exit_code == early.ending().exit_code
        assert (tmp_path / "late").stat().st_ctime_ns > marker_ns > (tmp_path / "early").stat().st_ctime_ns
    finally:
        host._process.kill("test", 0.0)
        host._process.wait_ended(20)
        hosts.close()
