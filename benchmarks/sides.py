"""The two that are measured: `proofq worker` with four slots, and `rq worker-pool -n 4`. Each with its own server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import redis
from rq import Queue

from benchmarks import roles
from proofq.policies import lifecycle
from proofq.workers import keys, known_agents, producer, session
from proofq.workers.known_agents import KnownAgent
from proofq.workers.producer import Request
from tests.servers import PrivateServer, binaries
from tests.waiting import until

PROJECT = Path(__file__).with_name("project")
SLOTS = 4
#: Seconds for a worker to come up, and to leave when told to.
READY_S, LEAVE_S = 60.0, 30.0


class Side(ABC):
    """A server, and workers on it that are reached by its unix socket. The harness itself comes by TCP, which is how
    MONITOR tells its commands from theirs."""

    name = ""
    #: The project that its workers serve.
    template = PROJECT
    #: Processes that serve, and so speak to Redis while idle.
    processes = 0
    #: Tasks at a time, and how many gates it takes to hold all of these places: more where a process fetches ahead.
    places = gates = SLOTS
    #: The files of those that have ended, where they are left for now.
    _left: ClassVar[list[Path] | None] = None

    @classmethod
    @contextmanager
    def files_left(cls) -> Iterator[None]:
        """Files of ended sides are removed after this only. ext4 passes one by one over what was deleted less than a
        minute ago wherever a file is made, so that the next side would pay for them."""
        Side._left = []
        try:
            yield
        finally:
            left, Side._left = Side._left, None
            for root in left:
                shutil.rmtree(root, ignore_errors=True)

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="pqbench-"))
        self.project = self.root / "project"
        shutil.copytree(self.template, self.project)
        self.files = self.root / "files"
        self.files.mkdir()
        self.server = server_with_port()
        self.port = self.server.port
        self.harness: Any = redis.Redis(host="127.0.0.1", port=self.port)
        self._process: subprocess.Popen[bytes] | None = None
        self._count = 0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command(),
            cwd=self.project,
            env=self._environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.root / "worker.log").open("wb"),
            start_new_session=True,
        )
        try:
            until(self._ready, READY_S, f"{self.name} to be ready: {self.log()}")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, then the server, and remove every file."""
        if self._process is not None:
            self._tell_to_leave(self._process)
            try:
                self._process.wait(LEAVE_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self.harness.close()
        self.server.close()
        if self._left is None:
            shutil.rmtree(self.root, ignore_errors=True)
        else:
            self._left.append(self.root)

    @property
    def made(self) -> int:
        """How many tasks it was given, each of which writes a file of its own."""
        return self._count

    def log(self) -> str:
        """The end of what the workers said."""
        path = self.root / "worker.log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def out(self) -> str:
        """A path for the next task to write to."""
        self._count += 1
        return str(self.files / f"{self._count:06}")

    def enqueue_many(self, what: str, count: int) -> None:
        """Enqueue so many tasks, each with a path of its own."""
        for _ in range(count):
            self.enqueue(what, out=self.out())

    def settle(self) -> None:  # noqa: B027 - most sides say that a task is done once all of it is
        """Wait until what follows the done tasks has been written, too."""

    def done(self) -> int:
        """Tasks in RQ's registry of the finished: the same look at both sides."""
        pipe = self.harness.pipeline(transaction=False)
        for queue in self._queues():
            pipe.zcard(keys.rq_registry("finished", queue))
        return sum(pipe.execute())

    def wait_done(self, count: int, within_s: float) -> None:
        """Wait until so many have finished."""
        until(lambda: self.done() >= count, within_s, f"{count} finished tasks of {self.name}: {self.log()}")

    def cpu_s(self) -> float:
        """CPU seconds used so far by all its processes, those that have ended included; the server's are not."""
        return sum(self.cpu_ms().values()) / 1000

    def cpu_ms(self) -> dict[str, float]:
        """The same in milliseconds, by what the processes are; see `roles.cpu_ms`."""
        assert self._process is not None
        return roles.cpu_ms(self._process.pid)

    def server_ms(self) -> float:
        """Milliseconds of CPU used so far by its server."""
        return roles.ticks_ms(self.server.pid)[0]

    def _tell_to_leave(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)

    # --- what differs ----------------------------------------------------------------------------------------------

    @abstractmethod
    def connect(self, *, tcp: bool = False) -> None:
        """Make the producer's connection, by the unix socket or by TCP."""

    @abstractmethod
    def enqueue(self, what: str, **inputs: str | float) -> None:
        """Enqueue one task."""

    @abstractmethod
    def unproven(self) -> list[str]:
        """What is wrong with the tasks that ended."""

    @abstractmethod
    def _command(self) -> list[str]:
        """The command line of its workers."""

    @abstractmethod
    def _queues(self) -> list[str]:
        """RQ's names of the queues they serve."""

    @abstractmethod
    def _ready(self) -> bool:
        """Whether they serve."""

    def _environ(self) -> dict[str, str]:
        home = self.root / "home"
        home.mkdir(exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PROOFQ_REDIS_URL": self.server.url,
            "PROOFQ_CONFIG": str(self.project / "proofq.toml"),
        }

    def _url(self, tcp: bool) -> str:
        return f"redis://127.0.0.1:{self.port}" if tcp else self.server.url


class Ours(Side):
    """One worker of four slots: one supervisor speaks to Redis."""

    name = "proofq"
    processes = 1
    _agents: tuple[str, ...] = ("write", "gate", "first_line")
    #: The state in which each task is to end.
    ends_as = lifecycle.VERIFIED

    def connect(self, *, tcp: bool = False) -> None:
        self._session = session.open_session(self.project, {**self._environ(), "PROOFQ_REDIS_URL": self._url(tcp)})
        # What nobody has published is imported, and stays known to this process after the side is gone.
        until(lambda: set(self._agents) <= self._session.store.catalogue().keys(), READY_S, "what the worker publishes")
        self._known: dict[str, KnownAgent] = {name: known_agents.find(self._session, name) for name in self._agents}

    def enqueue(self, what: str, **inputs: str | float) -> None:
        producer.enqueue(self._session, self._known[what], inputs, Request(), "bench")

    def unproven(self) -> list[str]:
        store = self._session.store
        tasks = store.read_many(store.newest(0, 1_000_000))
        return [f"{task.id} is {task.state}" for task in tasks if task.state != self.ends_as]

    def _command(self) -> list[str]:
        return [program("proofq"), "worker"]

    def _queues(self) -> list[str]:
        return [keys.queue_of("work", name) for name in self._agents]

    def _ready(self) -> bool:
        owners = self.harness.zrange(keys.OWNERS, 0, -1)
        return any(self.harness.hget(keys.owner(owner.decode()), "state") == b"ready" for owner in owners)


class OursShared(Ours):
    """The same worker with two supervisors that share its slots."""

    name = "proofq, 2 supervisors"
    processes = 2

    def _environ(self) -> dict[str, str]:
        return {**super()._environ(), "PROOFQ_SUPERVISORS": str(self.processes)}

    def _ready(self) -> bool:
        owners = self.harness.zrange(keys.OWNERS, 0, -1)
        states = [self.harness.hget(keys.owner(owner.decode()), "state") for owner in owners]
        return states == [b"ready"] * self.processes


class Stock(Side):
    """RQ's own pool of four workers, one fork for each job, as it comes but for the log's level."""

    name = "rq"
    #: The pool and its four workers.
    processes = 1 + SLOTS

    def connect(self, *, tcp: bool = False) -> None:
        self._queue = Queue("bench", connection=redis.Redis.from_url(self._url(tcp)))

    def enqueue(self, what: str, **inputs: str | float) -> None:
        self._queue.enqueue(f"bench_jobs.{what}", kwargs=inputs)

    def unproven(self) -> list[str]:
        failed = self.harness.zcard(keys.rq_registry("failed", "bench"))
        return [f"{failed} jobs failed"] if failed else []

    def _command(self) -> list[str]:
        options = ["-n", str(SLOTS), "-u", self.server.url, "--logging-level", "WARNING", "bench"]
        return [program("rq"), "worker-pool", *options]

    def _queues(self) -> list[str]:
        return ["bench"]

    def _ready(self) -> bool:
        return bool(self.harness.scard("rq:workers") == SLOTS)


def program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def server_with_port() -> PrivateServer:
    """A started server that TCP reaches, too; on another port where somebody took the one that was free."""
    server = PrivateServer(binaries()[0], port=_free_port())
    try:
        return server.start()
    except AssertionError:
        taken = "Address already in use" in server.log()
        server.close()
        if not taken:
            raise
    return server_with_port()


def _free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
