"""`make bench-reuse`: a process for each task beside `reuse = 100`, in turns. Exit code 1 if something failed."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import quiet
from benchmarks.sides import Ours

WARM_UP = 20
WITHIN_S = 300.0


class Both(Ours):
    """A worker for both agents, of which a round enqueues one."""

    _agents = ("write", "write_reused")


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
    figures: dict[str, Any] = {"machine": quiet.machine(), "load": quiet.look().load, "median": medians}
    print(json.dumps(figures, indent=1))
    if options.json:
        Path(options.json).write_text(json.dumps({**figures, "rounds": rounds}, indent=1) + "\n")
    return 0


def _medians(found: list[dict[str, float]]) -> dict[str, float]:
    names = sorted({name for one in found for name in one})
    return {name: statistics.median(one.get(name, 0.0) for one in found) for name in names}


if __name__ == "__main__":
    sys.exit(main())
