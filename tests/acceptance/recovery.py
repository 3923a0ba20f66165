"""From a kill -9 to the next attempt: `python -m tests.acceptance.recovery --trials 10`.

Two workers of one host; the one that has the task loses a process, or all of them at once, and the time is taken, on
the Redis server's clock, until the next attempt is `running`. For the verifier, whose death costs no attempt, it is
taken until its task is `verified`.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
from collections.abc import Callable

from proofq.policies import lifecycle
from proofq.workers.door import Event
from proofq.workers.record import Task
from tests.acceptance.harness import Site, Worker
from tests.acceptance.processes import Found
from tests.waiting import until

#: What is killed, by name.
TARGETS = ("launcher", "supervisor", "forkserver", "child", "verifier", "all at once")
#: What the issue allows, in seconds.
WITHIN_S = 5.0
SETTINGS = {"slots": 2, "meta_slots": 0, "max_deaths": 100, "drain_s": 1}


class Stand:
    """A site with two workers that are ready."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._workers = [site.start(), site.start()]
        self.ready()

    def ready(self) -> None:
        """Bring both workers back to full strength: a launcher that was killed is started again."""
        for index, worker in enumerate(self._workers):
            if worker.process.poll() is not None:
                self._workers[index] = self.site.start()
        for worker in self._workers:
            # So many deaths in a row make a launcher wait, half a minute at a time.
            worker.wait_ready(90.0)

    def holder(self, task_id: str) -> Worker:
        """The worker that has the task's lease."""
        owner = self.site.task(task_id).owner
        return next(worker for worker in self._workers if owner in worker.owners())

    def now_ms(self) -> int:
        """The server's time, with which every breadcrumb is stamped."""
        return self.site.session.now_ms()

    def next_start_ms(self, task_id: str, attempts: int) -> int:
        """When an attempt after the first `attempts` was `running`."""

        def seen() -> int:
            crumbs = self.site.snapshot(task_id).crumbs
            return next((crumb.at for crumb in crumbs if crumb.event == "start" and crumb.attempt > attempts), 0)

        try:
            return until(seen, 60.0, "the next attempt")
        except AssertionError as problem:
            raise AssertionError(f"{problem}\n{self.site.story(task_id)}\n{self.site.logs()}") from problem


def trial(stand: Stand, target: str) -> float:
    """One trial: seconds from the kill to the next attempt's start (the verifier's: to the verdict)."""
    stand.ready()
    return _verifier(stand) if target == "verifier" else _attempt(stand, target)


def _attempt(stand: Stand, target: str) -> float:
    site = stand.site
    task_id = site.enqueue("hang")
    task = site.wait_for(task_id, lifecycle.RUNNING)
    worker = stand.holder(task_id)
    victims = worker.processes() if target == "all at once" else _of_task(worker, target, task, site)
    before_ms = stand.now_ms()
    if target == "all at once":
        worker.signal_all(signal.SIGKILL)
    else:
        assert [one.signal(signal.SIGKILL) for one in victims] == [True]
    took_s = (stand.next_start_ms(task_id, task.attempt) - before_ms) / 1000
    assert not any(one.alive for one in victims)
    _cancel(stand, task_id)
    return took_s


def _of_task(worker: Worker, role: str, task: Task, site: Site) -> list[Found]:
    if role != "child":
        return [worker.one(role)]
    pid = site.snapshot(task.id).attempts[-1]["pid"]
    return [one for one in worker.processes("child") if one.pid == pid]


def _verifier(stand: Stand) -> float:
    """The verifier stands still until the claim waits for it, then it is killed: its proofs are read again."""
    site = stand.site
    path = f"long-{stand.now_ms()}"
    task_id = site.enqueue("write", out=site.out(path), text=path, run_s=0.5)
    site.wait_for(task_id, lifecycle.RUNNING)
    victims = stand.holder(task_id).processes("verifier")
    assert victims, "no verifier was started"
    for one in victims:
        one.signal(signal.SIGSTOP)
    site.wait_for(task_id, lifecycle.CLAIMED_DONE)
    before_ms = stand.now_ms()
    for one in victims:
        one.signal(signal.SIGKILL)
    site.wait_for(task_id, lifecycle.VERIFIED)
    return (site.snapshot(task_id).crumbs[-1].at - before_ms) / 1000


def _cancel(stand: Stand, task_id: str) -> None:
    """The next attempt has shown what it was for."""
    stand.site.session.door.apply(task_id, Event("cancel", "test", "the trial is over"))
    stand.site.wait_for(task_id, lifecycle.CANCELLED)


def measure(targets: tuple[str, ...], trials: int, say: Callable[[str], None] = print) -> dict[str, list[float]]:
    """Run the trials on a site of their own; the seconds of each, by target."""
    taken: dict[str, list[float]] = {}
    with Site(SETTINGS) as site:
        stand = Stand(site)
        for target in targets:
            taken[target] = [trial(stand, target) for _ in range(trials)]
            say(row(target, taken[target]))
    return taken


def row(target: str, taken: list[float]) -> str:
    """One line of the table."""
    return f"{target:<12} {len(taken):>3} trials   median {statistics.median(taken):5.2f} s   max {max(taken):5.2f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--target", action="append", choices=TARGETS)
    options = parser.parse_args()
    taken = measure(tuple(options.target or TARGETS), options.trials)
    late = [target for target, seconds in taken.items() if max(seconds) > WITHIN_S]
    print(f"later than {WITHIN_S:g} s: {late}" if late else f"all within {WITHIN_S:g} s")
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
