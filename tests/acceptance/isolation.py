"""A silent worker: `python -m tests.acceptance.isolation --isolation-s 90`.

Two workers stand still as a whole (SIGSTOP), one on this host and one in namespaces of its own, which makes it another
host to everybody. A third worker must have their tasks `running` within the isolation and five seconds; once they go
on, their agents die and what they come up with is refused.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from proofq.policies import lifecycle
from proofq.workers import proctree
from tests.acceptance.harness import Site, Worker, crumbs_are_whole, stopped
from tests.waiting import until

SLACK_S = 5.0
SETTINGS = {"slots": 2, "meta_slots": 0, "drain_s": 1}
ELSEWHERE = "elsewhere"


@dataclass
class Silence:
    """What one silent worker's tasks went through. Seconds are counted from the stop."""

    where: str
    worker: Worker
    endless: str
    late: str
    agents: list[proctree.ProcessId] = field(default_factory=list)
    taken_s: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        taken = ", ".join(f"{seconds:.1f}" for seconds in self.taken_s)
        return f"{self.where:<10} running again after {taken} s; refused: {', '.join(self.refused)}"


def may_unshare() -> bool:
    """Whether this process may make namespaces."""
    command = ["unshare", "--uts", "--pid", "--fork", "--mount-proc", "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def silence(isolation_s: float, hosts: list[str | None]) -> list[Silence]:
    """Stop a worker on each of these hosts (None: here) and tell what came of it."""
    with Site(SETTINGS) as site:
        silent = [_begin(site, host, isolation_s) for host in hosts]
        site.start("--slots", "8", isolation_s=isolation_s).wait_ready()
        tree = [one for each in silent for one in each.worker.signal_all(signal.SIGSTOP)]
        stopped_ms = site.session.now_ms()
        with stopped(tree):
            for each in silent:
                _wait_taken(site, each, stopped_ms, isolation_s)
            Path(site.out("end")).touch()
        for each in silent:
            _wait_refused(site, each)
        return silent


def _begin(site: Site, host: str | None, isolation_s: float) -> Silence:
    """A worker with two tasks: one without end, and one that has its result as soon as it goes on."""
    worker = site.start(isolation_s=isolation_s, host=host).wait_ready()
    each = Silence(host or "here", worker, site.enqueue("hang"), site.enqueue("hang", until=site.out("end")))
    for task_id in (each.endless, each.late):
        site.wait_for(task_id, lifecycle.RUNNING)
    # Seen from here, not as the pid that the worker in its own namespace knows.
    agents = worker.processes("child")
    each.agents = [proctree.identity(one.pid) for one in agents]
    assert len(each.agents) >= 2
    return each


def _wait_taken(site: Site, each: Silence, stopped_ms: int, isolation_s: float) -> None:
    for task_id in (each.endless, each.late):
        try:
            until(partial(_second_start, site, task_id), isolation_s + 30, "a second start")
        except AssertionError as problem:
            raise AssertionError(f"{each.where}: {problem}\n{site.story(task_id)}\n{site.logs()}") from problem
        each.taken_s.append((_second_start(site, task_id) - stopped_ms) / 1000)
    if each.where == "here" and any(proctree.is_alive(one) for one in each.agents):
        each.wrong.append("an attempt began beside a stopped process of the one before")


def _second_start(site: Site, task_id: str) -> int:
    crumbs = site.snapshot(task_id).crumbs
    return next((crumb.at for crumb in crumbs if crumb.event == "start" and crumb.attempt > 1), 0)


def _wait_refused(site: Site, each: Silence) -> None:
    """The worker goes on: its agents die, it is refused, and it begins again."""
    until(lambda: not any(proctree.is_alive(one) for one in each.agents), 10.0, "the end of the late agents")
    for task_id in (each.endless, each.late):
        try:
            each.refused.append(until(partial(_refused, site, task_id), 10.0, "a refusal"))
        except AssertionError as problem:
            raise AssertionError(f"{problem}\n{site.story(task_id)}\n{each.worker.log()}") from problem
    each.worker.wait_ready()
    for task_id in (each.endless, each.late):
        each.wrong += crumbs_are_whole(site.snapshot(task_id))


def _refused(site: Site, task_id: str) -> str:
    return next((event for event in site.events(task_id) if lifecycle.is_refused(event)), "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--isolation-s", type=float, default=90.0)
    options = parser.parse_args()
    hosts: list[str | None] = [None, ELSEWHERE] if may_unshare() else [None]
    found = silence(options.isolation_s, hosts)
    for each in found:
        print(each, *each.wrong, sep="\n  ")
    late = [each for each in found if max(each.taken_s) > options.isolation_s + SLACK_S or each.wrong]
    return 1 if late else 0


def must_unshare() -> bool:
    """Where CI=true nothing is skipped."""
    return os.environ.get("CI") == "true"


if __name__ == "__main__":
    sys.exit(main())
