"""TERM at random moments: `python -m tests.acceptance.drain --trials 30`.

A worker full of short tasks, long ones and proofs is told to leave. It must be gone in time with exit code 0 and
nothing left, and no task may have lost anything by it.
"""

from __future__ import annotations

import argparse
import random
import secrets
import sys
import time
from dataclasses import dataclass, field

from proofq.policies import lifecycle
from tests.acceptance.harness import READY_S, Site, crumbs_are_whole, one_end
from tests.waiting import until

DRAIN_S = 2.0
#: What the contract leaves beyond drain_s, seconds.
SLACK_S = 5.0
#: The latest moment of a TERM after the launcher's first word, seconds: from before it is ready to long after.
LATEST_S = 4.0
#: What a drain may leave behind: queued or ended tasks, and claims whose proofs the next worker reads.
LEFT = frozenset({lifecycle.QUEUED, lifecycle.CLAIMED_DONE, lifecycle.DEFERRED}) | lifecycle.TERMINAL


@dataclass
class Drain:
    """One trial, times in seconds."""

    after_s: float
    took_s: float
    exit_code: int
    given_back: int
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"TERM after {self.after_s:.2f} s: gone in {self.took_s:.2f} s, exit {self.exit_code}, "
            f"{self.given_back} given back"
        )


def drains(trials: int, seed: str) -> tuple[list[Drain], list[str]]:
    """Run the trials over one set of tasks, and a last worker that ends them; what was wrong with the whole."""
    chance = random.Random(seed)
    with Site({"slots": 4, "meta_slots": 0, "drain_s": DRAIN_S}) as site:
        ids = [_enqueue(site, chance, n) for n in range(12)]
        found = []
        for _ in range(trials):
            open_ = [task for task in site.store.read_many(ids) if task.state not in lifecycle.TERMINAL]
            ids += [_enqueue(site, chance, len(ids) + n) for n in range(12 - len(open_))]
            found.append(_drain(site, chance.uniform(0.0, LATEST_S), ids))
            print(found[-1], flush=True)
        site.start("--slots", "12").wait_ready()
        site.wait_all(ids, 60.0)
        wrong = [line for task_id in ids for line in one_end(site.snapshot(task_id))]
        wrong += [
            f"{task.id} is {task.state}: {site.story(task.id)}"
            for task in site.store.read_many(ids)
            if task.state not in lifecycle.SUCCESS
        ]
        return found, [*wrong, *([site.logs()] if wrong else [])]


def _enqueue(site: Site, chance: random.Random, number: int) -> str:
    agent = chance.choice(["write", "loop", "judged_write", "judged_loop", "hang"])
    if agent == "hang":
        return site.enqueue("hang", run_s=4.0)
    inputs = {"out": site.out(f"{number}"), "text": f"{number}", "run_s": chance.uniform(0.1, 1.0)}
    return site.enqueue(agent, **inputs, **({"proof_s": 1.0} if agent.startswith("judged") else {}))


def _drain(site: Site, after_s: float, ids: list[str]) -> Drain:
    before = {task.id: task.counted for task in site.store.read_many(ids)}
    given_back = _given_back(site, ids)
    worker = site.start()
    until(worker.log, READY_S, "a word of the launcher")
    time.sleep(after_s)
    worker.term()
    begun = time.monotonic()
    code = worker.wait(DRAIN_S + SLACK_S + 10)
    drain = Drain(after_s, time.monotonic() - begun, code, _given_back(site, ids) - given_back)
    left = site.left()
    if drain.took_s > DRAIN_S + SLACK_S or code != 0 or left:
        drain.wrong.append(f"{drain}, left {left}\n{worker.log()}")
    drain.wrong += [line for task_id in ids for line in _wrong(site, task_id, before.get(task_id, 0))]
    return drain


def _given_back(site: Site, ids: list[str]) -> int:
    attempts = [record for task_id in ids for record in site.snapshot(task_id).attempts]
    return sum(record.get("outcome") == "given_back" for record in attempts)


def _wrong(site: Site, task_id: str, counted: int) -> list[str]:
    """Nothing counted that did not end by itself, nobody's death, and a state in which it may wait."""
    snapshot = site.snapshot(task_id)
    wrong = crumbs_are_whole(snapshot)
    if snapshot.task.state not in LEFT:
        wrong.append(f"is {snapshot.task.state}")
    if snapshot.task.deaths:
        wrong.append(f"{snapshot.task.deaths} deaths")
    if snapshot.task.counted > counted and snapshot.task.state not in lifecycle.TERMINAL:
        wrong.append(f"{snapshot.task.counted} attempts count")
    ends = {None, "given_back", "verified"}
    if snapshot.task.state == lifecycle.FINISHED_UNPROVEN:
        ends.add("unverified")
    wrong += [
        f"attempt {record['n']} is {record['outcome']}, counted {record['counted']}"
        for record in snapshot.attempts
        if record.get("outcome") not in ends or (record.get("outcome") == "given_back" and record["counted"])
    ]
    return [f"{one}\n{site.story(task_id)}" for one in wrong]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seed", default=secrets.token_hex(4))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    found, wrong = drains(options.trials, options.seed)
    wrong += [line for drain in found for line in drain.wrong]
    print(*wrong, sep="\n")
    longest = max(drain.took_s for drain in found)
    print(f"{len(found)} drains, the longest {longest:.2f} s of {DRAIN_S + SLACK_S:g}, {len(wrong)} contradictions")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
