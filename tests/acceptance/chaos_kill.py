"""kill -9 of every kind of process at every moment: `python -m tests.acceptance.chaos_kill --kills 300`.

Workers over one Redis are fed a steady flow of tasks, and again and again one of their processes is killed. At the
end every task must have ended once, what was verified must really be there, and no process may be left.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from proofq.policies import lifecycle
from proofq.workers.audit import Audit
from proofq.workers.record import Task
from tests.acceptance import processes
from tests.acceptance.harness import Site, Worker, one_end
from tests.acceptance.processes import ROLES, Found

#: A task may lose many owners here before it is taken out; both ends are legal.
SETTINGS = {"slots": 4, "meta_slots": 0, "max_deaths": 12, "max_pickups": 12, "max_equal_crashes": 12, "drain_s": 20}
#: Seconds the campaign looks for a worker whose attempts are in the wished phase before it takes another one.
PATIENCE_S = 1.0
#: The longest pause before a kill, in seconds.
PAUSE_S = 1.2
#: Seconds in which every task must have ended after the last kill.
SETTLE_S = 120.0
#: More that can be done on request: two processes of a worker killed at once, or all of them; one stopped for a
#: while, or all of them, which the others must take for an isolation.
TOGETHER = ("pair", "all", "pause", "pause-all")
#: Workers that may be paused have the shortest isolation, and a pause may outlast it.
ISOLATION_S, LONGEST_PAUSE_S = 12.0, 16.0
PHASES = (lifecycle.LEASED, lifecycle.RUNNING, lifecycle.CLAIMED_DONE)


@dataclass(frozen=True)
class Kill:
    """One kill: what was killed, and in which states the attempts were that it hit (state -> how many).

    A child's kill hits its own attempt, any other one all live attempts of the worker.
    """

    number: int
    at_s: float
    worker: str
    role: str
    pid: int
    live: dict[str, int]

    def __str__(self) -> str:
        doing = ", ".join(f"{state} {count}" for state, count in sorted(self.live.items())) or "idle"
        return (
            f"#{self.number:<4}{self.at_s:7.1f} s  {self.role:<11} worker {self.worker} pid {self.pid:<8} live: {doing}"
        )


@dataclass
class Report:
    """What a campaign found. `wrong` is empty when everything held."""

    kills: list[Kill] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    lasted_s: float = 0.0
    unproven: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def with_live(self) -> float:
        """The share of kills at which an attempt was live."""
        return sum(bool(kill.live) for kill in self.kills) / max(1, len(self.kills))

    def table(self) -> str:
        """Kills by role and by the states they hit (one that hits several counts in each), and the tasks' ends."""
        rows = [f"{'killed':<12}" + "".join(f"{name:>14}" for name in (*PHASES, "idle", "all"))]
        for role in (*ROLES, *TOGETHER):
            mine = [kill for kill in self.kills if kill.role == role]
            if role in TOGETHER and not mine:
                continue
            hits = [sum(state in kill.live for kill in mine) for state in PHASES]
            idle = sum(not kill.live for kill in mine)
            rows.append(f"{role:<12}" + "".join(f"{count:>14}" for count in (*hits, idle, len(mine))))
        ends = ", ".join(f"{state} {count}" for state, count in self.ends.most_common())
        rows.append(f"{len(self.kills)} kills in {self.lasted_s:.0f} s, {self.with_live:.0%} with an attempt live")
        rows.append(f"{self.ends.total()} tasks, {self.attempts} attempts: {ends}")
        rows += self.unproven
        return "\n".join(rows)


class Campaign:
    """One campaign on a site of its own. The same seed wishes for the same victims; what they do is up to them."""

    def __init__(self, site: Site, kills: int, seed: str, workers: int, roles: Sequence[str]) -> None:
        self._site = site
        self._chance = random.Random(seed)
        self._victims = [roles[n % len(roles)] for n in range(kills)]
        self._chance.shuffle(self._victims)
        self._pauses = any(role.startswith("pause") for role in roles)
        self._paused: list[threading.Timer] = []
        self._workers = [self._start() for _ in range(workers)]
        self._ids: list[str] = []
        self._fed = threading.Event()
        self._begun = time.monotonic()
        self.report = Report()

    def run(self) -> Report:
        """Kill, wait, judge."""
        for worker in self._workers:
            worker.wait_ready()
        self._begun = time.monotonic()
        feeder = threading.Thread(target=self._feed, daemon=True)
        feeder.start()
        try:
            for role in self._victims:
                self._kill_one(role)
                self._replace_ended()
        finally:
            self._fed.set()
            feeder.join()
            for timer in self._paused:
                timer.join()
        self.report.lasted_s = time.monotonic() - self._begun
        self._site.wait_all(self._ids, SETTLE_S)
        self._leave()
        self._judge()
        return self.report

    # --- the flow --------------------------------------------------------------------------------------------------

    def _feed(self) -> None:
        """Keep a few tasks more in the queues than there are slots."""
        chance = random.Random(self._chance.random())
        wanted = 4 * len(self._workers) + 4
        while not self._fed.wait(0.05):
            open_ = sum(task.state not in lifecycle.TERMINAL for task in self._site.store.read_many(self._ids[-200:]))
            for _ in range(wanted - open_):
                self._ids.append(self._enqueue(chance))

    def _enqueue(self, chance: random.Random) -> str:
        agent = chance.choice(["write", "loop", "judged_write", "judged_loop"])
        # Of half of those that are functions a verifier reads the proof.
        name = f"{chance.choice(['long', 'short'])}-{len(self._ids)}-{agent}"
        inputs = {"out": self._site.out(name), "text": name, "run_s": round(chance.uniform(0.1, 1.2), 2)}
        if agent.startswith("judged"):
            inputs["proof_s"] = round(chance.uniform(0.1, 0.8), 2)
        return self._site.enqueue(agent, **inputs)

    # --- the kills -------------------------------------------------------------------------------------------------

    def _kill_one(self, role: str) -> None:
        """Find a worker with such a process, if possible with attempts in the phase wished for, and kill it."""
        wish = self._chance.choice([*PHASES, lifecycle.RUNNING])
        time.sleep(self._chance.uniform(0.0, PAUSE_S))
        begun = time.monotonic()
        while True:
            waited = time.monotonic() - begun
            assert waited < 60, f"no {role} to kill\n{self._site.logs()}"
            for worker in self._chance.sample(self._workers, len(self._workers)):
                tasks = worker.holding()
                wished = any(task.state == wish for task in tasks) or (tasks and waited > PATIENCE_S)
                if (wished or waited > 5 * PATIENCE_S) and self._kill(worker, role, tasks):
                    return
            time.sleep(0.005)

    def _kill(self, worker: Worker, role: str, tasks: list[Task]) -> bool:
        found = worker.processes(role if role in ROLES else None)
        if len(found) < (2 if role in TOGETHER else 1):
            return False
        count = {"pair": 2, "all": len(found), "pause-all": len(found)}.get(role, 1)
        victims = self._chance.sample(found, count)
        number = signal.SIGSTOP if role.startswith("pause") else signal.SIGKILL
        if True not in [victim.signal(number) for victim in victims]:
            return False
        if number == signal.SIGSTOP:
            self._go_on_later(victims)
        victim = victims[0]
        if role == "child":
            mine = [task for task in tasks if self._is_of(victim, task, found)]
            # Of no attempt that is known to run: one that is being started, or a proof.
            tasks = mine or [task for task in tasks if task.state != lifecycle.RUNNING]
        live = Counter(task.state for task in tasks)
        at_s = time.monotonic() - self._begun
        kill = Kill(len(self.report.kills) + 1, at_s, worker.mark[-3:], role, victim.pid, dict(live))
        self.report.kills.append(kill)
        print(kill, flush=True)
        return True

    def _go_on_later(self, victims: list[Found]) -> None:
        def go_on() -> None:
            for victim in victims:
                victim.signal(signal.SIGCONT)

        self._paused.append(threading.Timer(self._chance.uniform(0.1, LONGEST_PAUSE_S), go_on))
        self._paused[-1].start()

    def _is_of(self, victim: Found, task: Task, found: list[Found]) -> bool:
        """Whether the process belongs to the task's attempt; a proof, or one not yet confirmed, to none."""
        parents = {one.pid: one.ppid for one in found}
        pid = victim.pid
        while parents.get(pid) in parents:
            pid = parents[pid]
        return bool(self._site.snapshot(task.id).attempts[-1].get("pid") == pid)

    def _replace_ended(self) -> None:
        """Only a launcher that was killed ends a worker: start another one."""
        for index, worker in enumerate(self._workers):
            code = worker.process.poll()
            if code is None:
                continue
            if code != -signal.SIGKILL:
                self.report.wrong.append(f"worker {worker.mark} ended by itself with {code}\n{worker.log()}")
            self._workers[index] = self._start()

    def _start(self) -> Worker:
        return self._site.start(isolation_s=ISOLATION_S if self._pauses else None)

    # --- the end ---------------------------------------------------------------------------------------------------

    def _leave(self) -> None:
        """Drain every worker; then nothing may be left."""
        for worker in self._workers:
            worker.term()
        for worker in self._workers:
            try:
                code = worker.wait(SETTINGS["drain_s"] + 5)
            except subprocess.TimeoutExpired:
                self.report.wrong.append(f"worker {worker.mark} does not leave\n{worker.log()}")
                continue
            # The last victim may have been this launcher.
            if code not in {0, -signal.SIGKILL}:
                self.report.wrong.append(f"worker {worker.mark} left with {code}\n{worker.log()}")
        try:
            self._site.wait_nothing_left()
        except AssertionError:
            told = "\n".join(processes.describe(pid) for pid in self._site.left())
            self.report.wrong.append(f"processes are left:\n{told}")

    def _judge(self) -> None:
        report, site = self.report, self._site
        for task_id in self._ids:
            snapshot = site.snapshot(task_id)
            report.ends[snapshot.task.state] += 1
            report.attempts += snapshot.task.attempt
            report.wrong += one_end(snapshot)
            if snapshot.task.state != lifecycle.VERIFIED:
                report.unproven.append(site.story(task_id))
            text = snapshot.task.inputs["text"]
            if snapshot.task.state == lifecycle.VERIFIED and not _is_written(Path(site.out(text)), text):
                report.wrong.append(f"{task_id} is verified, and {site.out(text)} is not written")
        overlaps = site.project / "overlaps"
        if overlaps.exists():
            report.wrong.append(f"attempts ran beside each other: {overlaps.read_text().splitlines()}")
        report.wrong += [f"audit: {violation}" for violation in Audit(site.store).run().violations]


def _is_written(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text().splitlines()[-1:] == [f"done {text}"]


def campaign(kills: int, seed: str, workers: int = 3, roles: Sequence[str] = ROLES) -> Report:
    """Run a campaign on a site of its own, which is kept for a look when something was wrong."""
    with Site(SETTINGS) as site:
        report = Campaign(site, kills, seed, workers, roles).run()
        if report.wrong:
            report.wrong.append(site.logs())
        return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", default=secrets.token_hex(4))
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--role", action="append", choices=(*ROLES, *TOGETHER), help="do only this")
    options = parser.parse_args()
    print(f"{options.kills} kills, seed {options.seed}, {os.cpu_count()} cores", flush=True)
    report = campaign(options.kills, options.seed, options.workers, options.role or ROLES)
    print(report.table())
    for line in report.wrong:
        print(f"WRONG {line}")
    print("every task ended once, and nothing is left" if not report.wrong else f"{len(report.wrong)} contradictions")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
