"""The part `fair`: how long tasks of nine agents wait beside those of one that is a hundred times slower."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benchmarks import report
from benchmarks.measures import WITHIN_S, WrongResult
from benchmarks.quiet import Loads
from benchmarks.report import quantiles
from benchmarks.sides import Ours
from proofq.policies import lifecycle
from proofq.workers import keys
from tests.waiting import until

#: What is wanted: the 95th percentile of the others' waits, by that without the slow one; the median of the rounds.
MOST_TIMES: Final = 1.25
#: The others, and how much slower the one is. Its tasks: more than there are slots.
QUICK: Final = tuple(f"quick_{number}" for number in range(9))
SLOW, TIMES, SLOW_TASKS = "slow", 100, 16


class Lane(Ours):
    """One worker of eight slots; nothing is leased before everything is enqueued."""

    name = "proofq, eight slots"
    template = Path(__file__).with_name("fair")
    _agents = (*QUICK, SLOW)
    ends_as = lifecycle.FINISHED_UNPROVEN
    #: The most slots that the slow one was seen to hold while others waited.
    most_slow = 0

    def waits_s(self, tasks: int, run_s: float, with_slow: bool) -> list[float]:
        """Seconds from when the worker may lease until each task of the others was leased: `tasks` of each."""
        self.connect()
        self.harness.set(keys.RQ_SUSPENDED, 1)
        if with_slow:
            for _ in range(SLOW_TASKS):
                self.enqueue(SLOW, run_s=TIMES * run_s)
        for number in range(tasks * len(QUICK)):
            self.enqueue(QUICK[number % len(QUICK)], run_s=run_s)
        seconds, micros = self.harness.time()
        self.harness.delete(keys.RQ_SUSPENDED)
        self.harness.publish(keys.BELL, keys.queue_of("work", SLOW))
        until(lambda: self._all_leased(tasks * len(QUICK)), WITHIN_S, f"the last lease: {self.log()}")
        store = self._session.store
        begun = 1000 * int(seconds) + int(micros) // 1000
        found = [one for one in store.read_many(store.newest(0, 1_000_000)) if one.agent != SLOW]
        return [(store.attempts(task.id)[0]["leased_at"] - begun) / 1000 for task in found]

    def _all_leased(self, count: int) -> bool:
        pipe = self.harness.pipeline(transaction=True)
        for agent in (SLOW, *QUICK):
            for status in ("started", "finished"):
                pipe.zcard(keys.rq_registry(status, keys.queue_of("work", agent)))
        slow, _, *others = pipe.execute()
        if sum(others) < count:
            self.most_slow = max(self.most_slow, slow)
        return bool(sum(others) >= count)


def measure(options: argparse.Namespace, said: Console, loads: Loads) -> dict[str, Any]:
    """Rounds with and without the slow one in turn, each with a fresh worker that has seen nothing."""
    rounds = []
    for number in range(options.rounds):
        before = loads.before_round()
        found: dict[str, Any] = {}
        for with_slow in (False, True) if number % 2 == 0 else (True, False):
            with Lane() as side:
                waits = side.waits_s(options.fair_tasks, options.fair_run_s, with_slow)
                found["with" if with_slow else "without"] = {**quantiles(waits), "p95": _p95_ms(waits)}
                if with_slow:
                    found["most_slow"] = side.most_slow
        if not found["without"]["p95"]:
            raise WrongResult("nobody waited; enqueue more tasks")
        found["times"] = found["with"]["p95"] / found["without"]["p95"]
        rounds.append(found)
        said.print(f"round {number + 1}: {found['times']:.2f} times, it had {found['most_slow']} slots ({before})")
    return {
        "tasks": options.fair_tasks,
        "run_s": options.fair_run_s,
        "rounds": rounds,
        "times": statistics.median(one["times"] for one in rounds),
    }


def _p95_ms(waits_s: list[float]) -> float:
    return 1000 * sorted(waits_s)[round(0.95 * (len(waits_s) - 1))]


def show(figures: Mapping[str, Any], console: Console) -> None:
    """Print the table."""
    rows = [
        (
            str(number), *(f"{one[side]['p95'] / 1000:.2f}" for side in ("without", "with")), f"{one['times']:.2f}",
            str(one["most_slow"]),
        )
        for number, one in enumerate(figures["rounds"], 1)
    ]  # fmt: skip
    run_s = figures["run_s"]
    title = (
        f"{figures['tasks']} tasks of {run_s:g} s of each of {len(QUICK)} agents; one more takes {TIMES * run_s:g} s"
    )
    headings = ("round", "p95 wait without it, s", "with it", "times", "of 8 slots it had at most")
    report.table(title, headings, rows, console)
    median = figures["times"]
    told = [("median of the rounds", f"{median:.2f}", f"at most {MOST_TIMES:g}", report.holds(median <= MOST_TIMES))]
    report.table("wanted", ("", "times", "wanted", ""), told, console)
