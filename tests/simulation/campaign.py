"""Many seeds over several processes, and what they did, summed up."""

from __future__ import annotations

import multiprocessing
import queue
from collections import Counter
from collections.abc import Iterator

from tests.simulation.run import Outcome, campaign


class Totals:
    """What a campaign did, summed up."""

    def __init__(self) -> None:
        self.seeds = self.steps = self.calls = self.checks = self.tasks = self.fewest_calls = 0
        self.simulated_s = 0.0
        self.faults: Counter[str] = Counter()
        self.states: Counter[str] = Counter()

    def add(self, one: Outcome) -> None:
        self.fewest_calls = min(self.fewest_calls, one.calls) if self.seeds else one.calls
        self.seeds += 1
        self.steps += one.steps
        self.calls += one.calls
        self.checks += one.checks
        self.tasks += one.tasks
        self.simulated_s += one.simulated_s
        self.faults.update(one.faults)
        self.states.update(one.states)

    def table(self, seconds: float) -> str:
        each = 1000 * seconds / max(1, self.seeds)
        lines = [
            f"seeds         {self.seeds}",
            f"store calls   {self.calls} (at least {self.fewest_calls} a seed)",
            f"steps         {self.steps}",
            f"checks        {self.checks} tasks read back and judged",
            f"tasks         {self.tasks}: " + ", ".join(f"{n} {state}" for state, n in self.states.most_common()),
            f"simulated     {self.simulated_s / 3600:.1f} hours",
            f"seconds       {seconds:.1f} ({each:.0f} ms a seed)",
            f"faults        {self.faults.total()}",
        ]
        return "\n".join(lines + [f"  {kind:<20} {number}" for kind, number in sorted(self.faults.items())])


def spread(seeds: range, processes: int) -> Iterator[Outcome]:
    """The outcomes of the seeds, as they come, from several processes."""
    if processes <= 1:
        yield from campaign(seeds)
        return
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[Outcome | None] = context.Queue()
    workers = [
        context.Process(target=_work, args=(seeds[number::processes], results), daemon=True)
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    left = len(workers)
    try:
        while left:
            try:
                outcome = results.get(timeout=1.0)
            except queue.Empty:
                if any(worker.exitcode for worker in workers):
                    raise RuntimeError("a process of the simulator died; its message is above") from None
                continue
            if outcome is None:
                left -= 1
            else:
                yield outcome
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def _work(seeds: range, results: multiprocessing.Queue[Outcome | None]) -> None:
    for outcome in campaign(seeds):
        results.put(outcome)
    results.put(None)
