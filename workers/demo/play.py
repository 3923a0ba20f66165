"""The demo from beginning to end: three workers, one killed on the way, and every task ends proven or told why."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import proofq
from proofq.policies.lifecycle import HELD, OWNED, RUNNING, TERMINAL
from proofq.workers import proctree
from proofq.workers.demo import claims
from proofq.workers.demo.parts import Part, asking, cast
from proofq.workers.demo.provider import Provider
from proofq.workers.demo.screen import Progress, Report
from proofq.workers.demo.stage import Stage, StageError, Worker, kill, stage, wait_until
from proofq.workers.proctree import ProcessId

#: Seconds from the beginning to the end of the last task; what is not over by then is told as something not held.
PLAY_S: Final = 65.0
#: Seconds until the slow tasks must be running, and how long one works before its worker is killed:
#: at least, and at most.
RUNNING_S: Final = 15.0
KILL_AFTER_S: Final = 2.0
KILL_AT_LAST_S: Final = 6.0
#: Seconds between two looks at the tasks.
LOOK_S: Final = 0.2


@dataclass(frozen=True)
class Killed:
    """The worker that was killed: the name its attempts bear, the slow parts live on it, and their agents."""

    name: str
    agents: Mapping[str, ProcessId]


def run() -> int:
    """Play the demo and show it. Returns 0 if everything held that it claims to show, else 1."""
    report = Report()
    with stage() as made, Provider() as provider:
        parts = [*cast(Path(proofq.__file__).parent, made.out), *asking(provider.url, made.out)]
        with Progress(parts) as progress:
            seen = _play(made, parts, progress)
        found = claims.judge(seen)
        report.tasks(parts, seen.shown)
        report.verdict(seen.audit, found)
    return 0 if all(claim.held for claim in found) else 1


def _play(made: Stage, parts: Sequence[Part], progress: Progress) -> claims.Seen:
    until = time.monotonic() + PLAY_S
    made.command("redis", "start")
    workers = [made.start_worker(name) for name in ("one", "two", "three")]
    for worker in workers:
        worker.wait_ready()
    progress.say(f"three workers are ready; {len(parts)} tasks are enqueued")
    tasks = {part.name: proofq.enqueue(part.agent, part.inputs) for part in parts}
    watch = Watch(tasks, progress, until)
    killed, survivors = _kill_one(made, workers, parts, watch)
    outlived = watch.to_the_end(killed)
    _replay(made, watch, [part.name for part in parts if part.replayed])
    outlived += watch.to_the_end(killed)
    shown = {name: made.command("show", task.id) for name, task in tasks.items()}
    exit_codes = [made.leave(worker) for worker in survivors]
    audit = made.command("audit")
    made.command("redis", "stop")
    progress.say("all ended")
    return claims.Seen(parts, shown, killed.name, list(killed.agents), outlived, audit, exit_codes, made.left())


def _kill_one(
    made: Stage, workers: Sequence[Worker], parts: Sequence[Part], watch: Watch
) -> tuple[Killed, list[Worker]]:
    """kill -9 of the worker with the most slow attempts, well on their way: of everything but its agents.

    Those are left for the other workers to find: who takes a task over makes sure that its agent is dead. The kill
    waits a little for a moment in which nobody meets what must be seen: it would be lost with the worker.
    """
    slow = [part.name for part in parts if part.slow]
    telling = [part.name for part in parts if part.through or part.once]
    wait_until(lambda: watch.running(slow), RUNNING_S, "the start of the slow tasks")
    since = time.monotonic()

    def is_time() -> bool:
        worked = time.monotonic() - since
        return watch.running(slow) and worked > (KILL_AFTER_S if watch.resting(telling) else KILL_AT_LAST_S)

    wait_until(is_time, RUNNING_S, "time for the kill")
    agents = {name: made.command("show", watch.tasks[name].id)["attempts"][-1] for name in slow}
    below = {worker.name: {one.pid for one in worker.processes} for worker in workers}
    victim = max(workers, key=lambda worker: sum(one["pid"] in below[worker.name] for one in agents.values()))
    live = {name: one for name, one in agents.items() if one["pid"] in below[victim.name]}
    if not live:
        raise StageError("No attempt of a slow task was live on any worker when one was to be killed")
    pids = {name: proctree.identity(one["pid"]) for name, one in live.items()}
    spared = {below.pid for one in pids.values() for below in proctree.tree(one.pid)}
    kill([one for one in victim.processes if one.pid not in spared])
    watch.progress.say(
        f"kill -9 of worker {victim.name}: launcher, supervisor, forkserver; {len(live)} slow tasks on it"
    )
    names = {str(one["worker"]) for one in live.values()}
    return Killed(names.pop(), pids), [worker for worker in workers if worker is not victim]


def _replay(made: Stage, watch: Watch, names: Sequence[str]) -> None:
    """What a person does once the reason why these are held is gone."""
    states = watch.look()
    for name in names:
        if states[name][0] == HELD:
            watch.progress.say(f"proofq replay of {name!r}: its key is in order again")
            made.command("replay", watch.tasks[name].id)


class Watch:
    """Looks at every task, and shows what changed."""

    def __init__(self, tasks: Mapping[str, Any], progress: Progress, until: float) -> None:
        self.tasks = tasks
        self.progress = progress
        self._until = until

    def look(self) -> dict[str, tuple[str, int]]:
        """State and number of attempts of every task, now."""
        found = {}
        for name, task in self.tasks.items():
            crumb = task.breadcrumbs()[-1]
            found[name] = (str(crumb["to"]), int(crumb["attempt"]))
            self.progress.show(name, *found[name])
        return found

    def running(self, names: Sequence[str]) -> bool:
        """Whether all of these are running now."""
        states = self.look()
        return all(states[name][0] == RUNNING for name in names)

    def resting(self, names: Sequence[str]) -> bool:
        """Whether nothing runs for any of these now."""
        states = self.look()
        return not any(states[name][0] in OWNED for name in names)

    def to_the_end(self, killed: Killed) -> list[int]:
        """Look until every task has ended or is held.

        Gives the killed worker's agents that lived when their task ran again.
        """
        outlived: dict[str, int] = {}
        while time.monotonic() < self._until:
            states = self.look()
            for name, agent in killed.agents.items():
                state, attempt = states[name]
                if attempt > 1 and state == RUNNING and proctree.is_alive(agent):
                    outlived[name] = agent.pid
            if all(state in TERMINAL or state == HELD for state, _ in states.values()):
                break
            time.sleep(LOOK_S)
        return list(outlived.values())
