"""One 429 with a Retry-After among many workers: `python -m tests.acceptance.retry_after --wait-s 30 --tasks 200`.

Besides those in flight nothing may be sent until then; no second may hold more than a fifth of what is let out; and no
attempt is spent.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field

from proofq.policies import lifecycle
from tests.acceptance.gated import Gated, gated
from tests.waiting import until


@dataclass
class Slowed:
    """What was found; `wrong` is empty when the wait was kept by all."""

    tasks: int
    in_flight: int = 0
    first_s: float = 0.0
    released: int = 0
    densest: int = 0
    uncounted: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.tasks} tasks: {self.in_flight} requests of those in flight after the gate was told, the next "
            f"after {self.first_s:.1f} s; {self.released} were let out, {self.densest} in the densest second; "
            f"{self.uncounted} attempts not counted, {len(self.wrong)} contradictions"
        )


def retry_after(wait_s: int, tasks: int, workers: int) -> Slowed:
    """`slow_down` of a site of its own."""
    with gated({}) as site:
        site.workers(workers)
        return slow_down(site, wait_s, tasks, workers)


def slow_down(site: Gated, wait_s: int, tasks: int, workers: int) -> Slowed:
    """One request among many is told to wait, of a site whose workers are ready and whose gate is fresh."""
    found = Slowed(tasks)
    site.site.wait_for(site.enqueue(1)[0], lifecycle.VERIFIED)
    told: list[int] = []

    def once(_key: str, number: int) -> tuple[int, dict[str, str]] | None:
        told.append(number)
        return (429, {"Retry-After": str(wait_s)}) if len(told) == workers else None

    site.provider.refuse = once
    ids = site.enqueue(tasks)
    until(lambda: any(status == 429 for _, status in site.sent()), 60.0, "the 429")
    site.wait_verified(ids, wait_s + 120.0)
    cooled_s = next(at for at, event in site.moves() if event == "cool")
    after = [when - cooled_s for when, _ in site.provider.requests(cooled_s)]
    leased = sorted(when - cooled_s for when in site.leased(ids) if when > cooled_s)
    found.in_flight, found.released = len(after) - len(leased), len(leased)
    found.first_s = leased[0]
    found.densest = max(sum(begin <= when < begin + 1 for when in leased) for begin in leased)
    begun, counted = site.attempts(ids)
    found.uncounted = begun - counted
    found.wrong = site.wrong(ids)
    # The wait began when the provider said so, a little before the gate was told.
    if late := [when for when in leased if when < wait_s - 1]:
        found.wrong.append(f"leased while all were to wait, seconds after the gate was told: {late}")
    if found.in_flight >= workers:
        found.wrong.append(f"{found.in_flight} requests came from {workers} slots")
    if found.densest > max(1, 0.2 * found.released):
        found.wrong.append(f"one second held {found.densest} of {found.released}")
    if (begun, counted) != (tasks + 1, tasks):
        found.wrong.append(f"{begun} attempts, {counted} counted, for {tasks} tasks and one 429")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wait-s", type=int, default=30)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--workers", type=int, default=20)
    options = parser.parse_args()
    found = retry_after(options.wait_s, options.tasks, options.workers)
    print(found, *found.wrong, sep="\n")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
