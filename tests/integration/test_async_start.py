"""How an async attempt begins: its supervisor sees it, and what it writes is newer than its markers."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from proofq.workers.async_hosts import AsyncHosts
from proofq.workers.async_running import AsyncRunning
from proofq.workers.clock import SystemClock
from tests.spawning import ENV, Bench, config
from tests.waiting import until


@pytest.fixture
def bench():
    """A spawner of its own."""
    made = Bench(config())
    yield made
    made.spawner.close()


class Runs:
    """Runs attempts of async agents, each in the host that those of its agent share."""

    def __init__(self, bench, folder):
        self.hosts = AsyncHosts(bench.spawner, folder / "hosts", SystemClock(), 10.0)
        self.used = {}
        self.folder = folder

    def __call__(self, agent, inputs, ticks=()):
        host = self.used[agent] = self.hosts.of(agent, lambda: ENV, (), single=False)
        attempt = AsyncRunning(lambda: (self.folder / "out", self.folder / "err"), ())
        told = {"inputs": inputs, "task_id": "t", "attempt": 1, "workdir": "/", "taskdir": "/", "ticks": list(ticks)}
        host.run(attempt, told)
        return attempt

    def kill(self):
        for host in self.used.values():
            host._process.kill("test", 0.0)
            host._process.wait_ended(20)


@pytest.fixture
def run(bench, tmp_path):
    """Hosts that are gone afterwards."""
    made = Runs(bench, tmp_path)
    yield made
    made.kill()
    made.hosts.close()


def test_nothing_of_it_runs_before_the_file_systems_clock_has_moved_on(run, tmp_path):
    """However late that is; a neighbour without a marker does not wait for it."""

    def touch(name, ticks):
        return run("touch_async", {"path": str(tmp_path / name)}, ticks)

    assert touch("first", []).wait_ended(30), "the process is up"
    marker_ns = time.time_ns() + 2_000_000_000
    late = touch("late", [(str(tmp_path), marker_ns - 500_000_000), (str(tmp_path), marker_ns)])
    early = touch("early", [])
    assert early.wait_ended(20)
    assert late.wait_ended(20)
    assert late.ending().exit_code == early.ending().exit_code
    assert (tmp_path / "late").stat().st_ctime_ns > marker_ns > (tmp_path / "early").stat().st_ctime_ns


def test_the_start_is_seen_of_who_lets_the_loop_say_nothing(run, tmp_path):
    """An attempt whose first step blocks has begun; one behind it begins once the loop turns again."""
    began_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    go = tmp_path / "go"
    blocks = run("blocks_async", {"up": str(tmp_path / "up"), "go": str(go)})
    assert blocks.wait_started(20)
    until((tmp_path / "up").exists, 20, "its first step")
    behind = run("blocks_async", {"up": str(tmp_path / "behind"), "go": str(go)})
    assert not behind.wait_started(0)
    assert not blocks.wait_ended(0)
    go.touch()
    assert behind.wait_started(20)
    assert blocks.wait_ended(20)
    assert behind.wait_ended(20)
    assert began_s <= blocks.started_s <= behind.started_s <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_a_start_that_nobody_waited_for_is_seen_after_a_death(run, tmp_path):
    """Of an attempt that had begun when its process was killed, and of none that had not."""
    go = tmp_path / "go"
    blocks = run("blocks_async", {"up": str(tmp_path / "up"), "go": str(go)})
    until((tmp_path / "up").exists, 20, "its first step")
    behind = run("blocks_async", {"up": str(tmp_path / "behind"), "go": str(go)})
    run.kill()
    assert blocks.wait_ended(20)
    assert behind.wait_ended(20)
    assert (blocks.wait_started(0), behind.wait_started(0)) == (True, False)


def test_those_that_begin_at_once_begin_in_the_order_of_their_numbers(run, tmp_path):
    """A hundred from eight threads: each start is seen, since the last number stands for all before it."""
    assert run("touch_async", {"path": str(tmp_path / "first")}).wait_ended(30), "the process is up"
    with ThreadPoolExecutor(8) as threads:
        begun = list(threads.map(lambda n: run("touch_async", {"path": str(tmp_path / str(n))}), range(100)))
    assert all(attempt.wait_ended(20) for attempt in begun)
    assert all(attempt.wait_started(0) for attempt in begun)
    assert sorted(attempt.number for attempt in begun) == list(range(2, 102))
