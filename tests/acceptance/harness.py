"""A site: a project in a directory of its own, a private Redis, and real `proofq worker` processes over both.

Everything a site starts can be found again (`processes`), so that a test can prove that nothing is left, and `close`
ends exactly that and nothing else.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from proofq.policies import lifecycle
from proofq.workers import keys, known_agents, producer, session
from proofq.workers.known_agents import KnownAgent
from proofq.workers.producer import Request
from proofq.workers.record import Task
from proofq.workers.snapshot import Snapshot
from tests.acceptance import processes
from tests.acceptance.processes import MARK, Found
from tests.commands import Done, Inside
from tests.servers import PrivateServer, binaries
from tests.waiting import rest, until

PROJECT = Path(__file__).with_name("site")
#: A worker that is not ready by then never will be; a busy host starts three Pythons slowly.
READY_S = 30.0
#: Settings of every site unless it says otherwise.
SETTINGS: Mapping[str, float | int] = {"slots": 4, "meta_slots": 0}


class Worker:
    """One `proofq worker` and all its processes. `host`: the name of the host it believes to be on."""

    def __init__(self, process: subprocess.Popen[bytes], mark: str, log: Path, host: str, site: Site) -> None:
        self.process = process
        self.mark = mark
        self.log_path = log
        self.host = host
        self._site = site

    def processes(self, role: str | None = None) -> list[Found]:
        """The living ones, launcher first; those of one role."""
        return [one for one in processes.of_worker(self.mark) if role is None or one.role == role]

    def one(self, role: str) -> Found:
        """The process of a role that is there once; waits for it."""
        return until(lambda: self.processes(role), READY_S, f"a {role}")[0]

    def owners(self) -> dict[str, dict[str, str]]:
        """The rows of the owners that this worker's supervisors enlisted, dead ones included, by id."""
        pids = {str(self.process.pid), "1"} if self.host != os.uname().nodename else {str(self.process.pid)}
        rows = self._site.owner_rows()
        return {
            owner: row for owner, row in rows.items() if row.get("launcher_pid") in pids and row["host"] == self.host
        }

    @property
    def owner(self) -> str:
        """The id of the owner that is ready; waits for it."""
        return until(self._ready, READY_S, f"a ready owner of worker {self.mark}")

    def wait_ready(self, within_s: float = READY_S) -> Worker:
        """Wait until it takes leases."""
        try:
            until(self._ready, within_s, f"a ready owner of worker {self.mark}")
        except AssertionError as problem:
            raise AssertionError(f"{problem}\n{self.log()}") from problem
        return self

    def is_ready(self) -> bool:
        """Whether it takes leases now."""
        return bool(self._ready())

    def _ready(self) -> str:
        rows = self.owners().items()
        return next((owner for owner, row in rows if row.get("state") == "ready" and not row.get("dead")), "")

    def holding(self) -> list[Task]:
        """The tasks whose leases it has, as they stand."""
        ids = [task_id for owner in self.owners() for task_id in self._site.store.leases_of(owner)]
        return self._site.store.read_many(ids)

    def term(self) -> None:
        """Ask for a drain."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, within_s: float) -> int:
        """Wait until the launcher has ended; its exit code."""
        return self.process.wait(within_s)

    def signal_all(self, number: int) -> list[Found]:
        """Send a signal to every process of it, launcher first; who got it."""
        sent: dict[int, Found] = {}
        # What is started meanwhile is found by the next look.
        while new := [one for one in self.processes() if one.pid not in sent]:
            for one in new:
                one.signal(number)
                sent[one.pid] = one
        return list(sent.values())

    def log(self) -> str:
        """The end of what it said."""
        return self.log_path.read_text(errors="replace")[-6000:] if self.log_path.exists() else ""


class Site:
    """A project and its Redis. `settings` go to [worker]; use as a context manager."""

    def __init__(self, settings: Mapping[str, float | int] | None = None, binary: str | None = None) -> None:
        self.id = f"pq{secrets.token_hex(4)}"
        self.root = Path(tempfile.mkdtemp(prefix=f"{self.id}-"))
        self.project = self.root / "project"
        shutil.copytree(PROJECT, self.project)
        self.files = self.root / "files"
        self.files.mkdir()
        lines = [f"{name} = {value}" for name, value in {**SETTINGS, **(settings or {})}.items()]
        toml = self.project / "proofq.toml"
        toml.write_text(toml.read_text().replace("\n\n", "\n\n[worker]\n" + "\n".join(lines) + "\n\n", 1))
        self.server = PrivateServer(binary or binaries()[0]).start()
        self.session = session.open_session(self.project, self.environ())
        self.store = self.session.store
        self.client = self.store.client
        self._known: dict[str, KnownAgent] = {}
        self.workers: list[Worker] = []

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything this site has started, and remove its files."""
        self.end_processes()
        for worker in self.workers:
            worker.process.wait()
        self.client.close()
        self.server.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def end_processes(self) -> None:
        """Kill whatever this site has started, again and again until nothing is left."""
        until(lambda: not self._end_once(), 20.0, "the end of all processes of the site")

    def _end_once(self) -> list[int]:
        left = self.left()
        processes.end(left)
        return left

    # --- workers ---------------------------------------------------------------------------------------------------

    def environ(self, number: int = 0, **more: str) -> dict[str, str]:
        """What its programs get: nothing of ours but the Redis, the project and the mark."""
        home = self.root / "home"
        home.mkdir(exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PROOFQ_REDIS_URL": self.server.url,
            "PROOFQ_CONFIG": str(self.project / "proofq.toml"),
            MARK: f"{self.id}.{number:03}",
            **more,
        }

    def start(
        self,
        *options: str,
        isolation_s: float | None = None,
        drain_s: float | None = None,
        host: str | None = None,
        environ: Mapping[str, str] | None = None,
        installed: Sequence[str] | None = None,
    ) -> Worker:
        """Start a worker; it is not ready yet. `host`: in UTS and pid namespaces of its own, under that name.

        `installed`: how another installation of proofq is called.
        """
        number = len(self.workers) + 1
        more = dict(environ or {})
        if isolation_s is not None:
            more["PROOFQ_ISOLATION_S"] = f"{isolation_s:g}"
        if drain_s is not None:
            more["PROOFQ_DRAIN_S"] = f"{drain_s:g}"
        command = [*(installed or program()), "worker", *options]
        if host is not None:
            inside = ["sh", "-c", 'hostname "$0" && exec "$@"', host, *command]
            command = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", *inside]
        log = self.root / f"worker-{number}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.project,
                env=self.environ(number, **more), start_new_session=True,
            )  # fmt: skip
        worker = Worker(process, f"{self.id}.{number:03}", log, host or os.uname().nodename, self)
        self.workers.append(worker)
        return worker

    def inside(self, *words: str) -> Done:
        """Run `proofq WORDS` in this process: where what it says and does is tested, and not the process."""
        return Inside(self.project, self.environ())(*words)

    def left(self) -> list[int]:
        """Every living process this site has started; its Redis lives elsewhere."""
        return processes.of_site(self.id, self.root)

    def owner_rows(self) -> dict[str, dict[str, str]]:
        """Every owner's row, by id."""
        owners = [name.decode() for name in self.client.zrange(keys.OWNERS, 0, -1)]
        rows = {owner: self.store.owner_row(owner) for owner in owners}
        return {owner: row for owner, row in rows.items() if row}

    def wait_owner_state(self, worker: Worker, state: str) -> None:
        """Wait until the worker says so of itself."""
        until(
            lambda: state in {row.get("state") for row in worker.owners().values()}, 10.0, f"a worker that is {state}"
        )

    def wait_nothing_left(self, within_s: float = 20.0) -> None:
        """Fail unless every process this site has started is dead soon."""
        until(lambda: not self.left(), within_s, "the end of everything that was started")

    # --- tasks -----------------------------------------------------------------------------------------------------

    def enqueue(self, agent: str, request: Request | None = None, /, **inputs: Any) -> str:
        """Enqueue a task; its id."""
        known = self._known.get(agent) or known_agents.find(self.session, agent)
        self._known[agent] = known
        return producer.enqueue(self.session, known, inputs, request or Request(), "test").id

    def out(self, name: str) -> str:
        """A path for an agent to write to."""
        return str(self.files / name)

    def task(self, task_id: str) -> Task:
        """The task as it stands."""
        return self.store.read(task_id)

    def snapshot(self, task_id: str) -> Snapshot:
        """The task with everything that must agree with it."""
        return self.store.snapshot(task_id)

    def events(self, task_id: str) -> list[str]:
        """The events of its breadcrumbs, in order."""
        return [crumb.event for crumb in self.snapshot(task_id).crumbs]

    def wait_for(self, task_id: str, state: str | Collection[str], within_s: float = 30.0) -> Task:
        """Wait until the task is in this state (one of these); fails early when it ended in another."""
        states = {state} if isinstance(state, str) else set(state)
        end = time.monotonic() + within_s
        while True:
            begun = time.monotonic()
            task = self.task(task_id)
            if task.state in states:
                return task
            ended = task.state in lifecycle.TERMINAL and not states & lifecycle.TERMINAL
            if ended or time.monotonic() > end:
                raise AssertionError(f"{task_id} is {task.state}, not {sorted(states)}\n{self.story(task_id)}")
            rest(begun)

    def wait_all(self, ids: Sequence[str], within_s: float) -> dict[str, Task]:
        """Wait until all of these have ended."""
        end = time.monotonic() + within_s
        while True:
            tasks = {task.id: task for task in self.store.read_many(ids)}
            open_ = [one for one in ids if one not in tasks or tasks[one].state not in lifecycle.TERMINAL]
            if not open_:
                return tasks
            if time.monotonic() > end:
                raise AssertionError(
                    f"{len(open_)} of {len(ids)} have not ended\n{self.story(open_[0])}\n{self.logs()}"
                )
            time.sleep(0.05)

    def story(self, task_id: str) -> str:
        """Its breadcrumbs, a line each, for whoever reads a failure."""
        lines = [
            f"  {crumb.at} {crumb.source} -{crumb.event}-> {crumb.to} [{crumb.fence}] {crumb.who}: {crumb.reason}"
            for crumb in self.snapshot(task_id).crumbs
        ]
        return "\n".join([task_id, *lines])

    def logs(self) -> str:
        """What the workers said last."""
        return "\n".join(f"--- {worker.log_path.name}\n{worker.log()}" for worker in self.workers[-4:])


def program() -> list[str]:
    """`proofq` as it is installed beside this Python."""
    return [str(Path(sys.executable).with_name("proofq"))]


@contextmanager
def stopped(found: Sequence[Found]) -> Iterator[None]:
    """These processes stand still meanwhile."""
    for one in found:
        one.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for one in found:
            one.signal(signal.SIGCONT)


def crumbs_are_whole(snapshot: Snapshot) -> list[str]:
    """What is wrong with a task's breadcrumbs by the contract: chain, table, one entry into one terminal state."""
    wrong = []
    before: str | None = None
    entered = 0
    for crumb in snapshot.crumbs:
        if crumb.source != before:
            wrong.append(f"{crumb.event} from {crumb.source} after {before}")
        if lifecycle.is_refused(crumb.event):
            if crumb.source != crumb.to:
                wrong.append(f"{crumb.event} moved {crumb.source} to {crumb.to}")
        elif lifecycle.next_state(crumb.source, crumb.event) != crumb.to:
            wrong.append(f"{crumb.source} -{crumb.event}-> {crumb.to} is not in the table")
        elif crumb.to in lifecycle.TERMINAL:
            entered += 1
        before = crumb.to
    if before != snapshot.task.state:
        wrong.append(f"breadcrumbs end in {before}, the task is {snapshot.task.state}")
    replays = sum(crumb.event == "replay" for crumb in snapshot.crumbs)
    if entered > 1 + replays:
        wrong.append(f"entered a terminal state {entered} times")
    return wrong


def one_end(snapshot: Snapshot) -> list[str]:
    """`crumbs_are_whole`, and that the task has ended, with every attempt closed."""
    wrong = crumbs_are_whole(snapshot)
    if snapshot.task.state not in lifecycle.TERMINAL:
        wrong.append(f"has not ended: {snapshot.task.state}")
    wrong += [f"attempt {record['n']} is open" for record in snapshot.attempts if not record.get("ended_at")]
    return [f"{snapshot.task.id}: {one}" for one in wrong]
