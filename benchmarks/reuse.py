"""`make bench-reuse`: a process for each task beside `reuse = 100`, in turns. Exit code 1 if something failed."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks import measures
from benchmarks.sides import Ours
from proofq.workers import proctree

WARM_UP = 20
WITHIN_S = 300.0


class Both(Ours):
    """A worker for both agents, of which a round enqueues one."""

    _agents = ("write", "write_reused")

    def cpu_ms(self) -> defaultdict[str, float]:
        """Milliseconds of CPU so far, by what the processes are; a task's process counts once it has ended, too."""
        assert self._process is not None
        used: defaultdict[str, float] = defaultdict(float)
        processes = proctree.snapshot()
        launcher = self._process.pid
        below = [one.pid for one in proctree.descendants(launcher, processes)]
        for pid in [launcher, *below]:
            own, ended = _ticks_ms(pid)
            role = "launcher" if pid == launcher else _role(pid, processes[pid].ppid)
            used[role] += own
            # Of those it has waited for; whoever runs in the middle of a round is in it already.
            used["ended children"] += ended
        return used


def _role(pid: int, parent: int) -> str:
    words = _arguments(pid)
    if words and words == _arguments(parent):
        # A fork of the forkserver: it has the very arguments of who forked it.
        return "tasks"
    return next((word.rpartition(".")[2] for word in words if word.startswith("proofq.workers.")), "other")


def _arguments(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def _ticks_ms(pid: int) -> tuple[float, float]:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[11:15]
    except OSError:
        return 0.0, 0.0
    own, ended = int(fields[0]) + int(fields[1]), int(fields[2]) + int(fields[3])
    return 1000 * own / os.sysconf("SC_CLK_TCK"), 1000 * ended / os.sysconf("SC_CLK_TCK")


def one_round(agent: str, tasks: int) -> dict[str, float]:
    """Tasks a second, and milliseconds of CPU that one took by what the processes are, in a worker of its own."""
    with Both() as side:
        assert isinstance(side, Both)
        side.connect()
        for _ in range(WARM_UP):
            side.enqueue(agent, out=side.out())
        side.wait_done(WARM_UP, WITHIN_S)
        before, begun = side.cpu_ms(), time.monotonic()
        for _ in range(tasks):
            side.enqueue(agent, out=side.out())
        side.wait_done(WARM_UP + tasks, WITHIN_S)
        took_s, used = time.monotonic() - begun, side.cpu_ms()
        wrong = side.unproven()
        if wrong:
            raise AssertionError(f"{len(wrong)} tasks of {agent} were not verified: {wrong[0]}")
    figures = {name: round((used[name] - before[name]) / tasks, 2) for name in sorted(used)}
    # A reused process that ended in the round moves from "tasks" to "ended children", with what it had before it.
    return {"tasks_per_s": round(tasks / took_s, 1), "cpu_ms": round(sum(figures.values()), 2), **figures}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench-reuse", description="A process per task beside reuse = 100.")
    parser.add_argument("--tasks", type=int, default=400, help="tasks of a round (default 400)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, each agent in turn (default 5)")
    parser.add_argument("--json", metavar="FILE", help="write every figure there")
    options = parser.parse_args()
    agents = {"a process each": "write", "reuse = 100": "write_reused"}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in agents}
    try:
        for _ in range(options.rounds):
            for name, agent in agents.items():
                rounds[name].append(one_round(agent, options.tasks))
    except AssertionError as problem:
        print(f"bench-reuse: {problem}", file=sys.stderr)
        return 1
    medians = {name: _medians(found) for name, found in rounds.items()}
    figures: dict[str, Any] = {"machine": measures.machine(), "load": measures.load(), "median": medians}
    print(json.dumps(figures, indent=1))
    if options.json:
        Path(options.json).write_text(json.dumps({**figures, "rounds": rounds}, indent=1) + "\n")
    return 0


def _medians(found: list[dict[str, float]]) -> dict[str, float]:
    names = sorted({name for one in found for name in one})
    return {name: statistics.median(one.get(name, 0.0) for one in found) for name in names}


if __name__ == "__main__":
    sys.exit(main())
