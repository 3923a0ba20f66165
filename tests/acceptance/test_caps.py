"""Caps with real workers: agents count those that run beside them, while a worker is killed."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Final

import pytest

from proofq.policies import lifecycle
from proofq.workers.audit import Audit
from tests.acceptance.harness import Site
from tests.waiting import until

pytestmark = [pytest.mark.xdist_group("caps"), pytest.mark.timeout(180)]

#: Each run holds a lock on a file of its own while it lives, so that a killed one counts no more.
_AGENTS: Final = """
import fcntl, os, pathlib, time
import proofq


def _runs(folder, agent, key):
    with open(folder / "door", "w") as door:
        fcntl.flock(door, fcntl.LOCK_EX)
        mine = open(folder / f"{agent}.{key}.run", "w")
        fcntl.flock(mine, fcntl.LOCK_EX)
        count = {"one": 0, "two": 0}
        for path in folder.glob("*.run"):
            with open(path) as other:
                try:
                    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    count[path.name.partition(".")[0]] += 1
        with open(folder / "seen", "a") as seen:
            print(count["one"], count["two"], flush=True, file=seen)
    return mine


def _count(ctx, agent):
    mine = _runs(pathlib.Path(__file__).parent / "counted", agent, f"{ctx.task_id}.{ctx.attempt}")
    time.sleep(0.15)
    mine.close()


@proofq.agent(provider="narrow", max_running=2, unproven=True, max_attempts=20)
def one(ctx):
    _count(ctx, "one")


@proofq.agent(provider="narrow", unproven=True, max_attempts=20)
def two(ctx):
    _count(ctx, "two")


@proofq.agent(rate={"starts": 2, "per_s": 3600}, unproven=True)
def rare(ctx):
    pass
"""


def test_no_more_run_than_caps_let_run() -> None:
    """Three workers of four slots, two of `one` and three of its provider at once: never more by what the agents saw,
    as many as that for most of the time, all tasks end, though a worker is killed; what waits says for what."""
    with Site(settings={"slots": 4}) as site:
        folder = site.project / "counted"
        folder.mkdir()
        (site.project / "counting.py").write_text(_AGENTS)
        toml = site.project / "proofq.toml"
        listed = toml.read_text().replace('modules = ["agents",', 'modules = ["counting", "agents",')
        toml.write_text(f"{listed}\n[providers.narrow]\nmax_running = 3\n")
        workers = [site.start("--lane", "work") for _ in range(3)]
        for worker in workers:
            worker.wait_ready(60.0)
        ids = [site.enqueue(("one", "two")[number % 2]) for number in range(40)]
        rare = [site.enqueue("rare") for _ in range(3)]
        until(lambda: len(_seen(folder)) > 8, 30, "some of them to run")
        workers[0].signal_all(signal.SIGKILL)
        tasks = site.wait_all(ids, 90.0)
        assert {task.state for task in tasks.values()} == {lifecycle.FINISHED_UNPROVEN}
        seen = _seen(folder)
        assert max(one for one, _ in seen) <= 2
        assert max(one + two for one, two in seen) == 3
        assert sum(one + two == 3 for one, two in seen) > len(seen) / 3
        shown = json.loads(site.inside("show", rare[2], "--json").stdout)
        assert (shown["state"], shown["attempt"]) == (lifecycle.QUEUED, 0)
        waits = shown["waiting_for"]
        assert (waits["what"], waits["name"], waits["rate"]) == ("cap", "rare", {"starts": 2, "per_s": 3600.0})
        assert waits["until"] is not None
        why = json.loads(site.inside("why", rare[2], "--json").stdout)["text"]
        assert "As many have begun as the rate of the agent rare lets begin: 2 attempts within 3600 s." in why
        listed = json.loads(site.inside("tasks", "--state", "queued", "--json").stdout)["items"]
        assert [(one["id"], one["waiting_for"]["what"]) for one in listed] == [(rare[2], "cap")]
        assert Audit(site.store).run().violations == []


def _seen(folder: Path) -> list[tuple[int, int]]:
    path = folder / "seen"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(one), int(two)) for one, two in (line.split() for line in lines)]
