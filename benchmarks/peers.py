"""Who else is measured: dramatiq, saq, arq and celery, each as its own documentation advises for four processes.

They do the same work, but nobody reads their files back: a task of theirs is done once its function returned. They live
in a virtual environment of their own, `.venv-peers`, from which a process of theirs enqueues for the harness.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.sides import SLOTS, Side

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv-peers" / "bin"
#: Seconds for what follows a function's return: acknowledgements, results.
SETTLED_S = 1.0


class Peer(Side):
    """One of them. Its module in `peer_project` is configured by PEER_URL."""

    template = Path(__file__).with_name("peer_project")
    module = ""
    #: The one who enqueues, once connected.
    _producer: subprocess.Popen[str] | None = None
    _seen = 0

    @staticmethod
    def installed() -> bool:
        """Whether `make peers` was run."""
        return (VENV / "python").exists()

    def connect(self, *, tcp: bool = False) -> None:
        self._leave()
        self._producer = subprocess.Popen(
            [str(VENV / "python"), "produce.py", self.module],
            cwd=self.project,
            env={**self._environ(), "PEER_URL": self._url(tcp)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._hear("ready")

    def enqueue(self, what: str, **inputs: str | float) -> None:
        self._send([(what, inputs)])

    def enqueue_many(self, what: str, count: int) -> None:
        self._send([(what, {"out": self.out()}) for _ in range(count)])

    def done(self) -> int:
        """Files from the first one on that are there: each is looked at until it is, and then no more."""
        while (self.files / f"{self._seen + 1:06}").exists():
            self._seen += 1
        return self._seen

    def settle(self) -> None:
        time.sleep(SETTLED_S)

    def unproven(self) -> list[str]:
        return []

    def close(self) -> None:
        self._leave()
        super().close()

    def _leave(self) -> None:
        if self._producer is not None:
            self._producer.communicate(timeout=30)
            self._producer = None

    def _send(self, wanted: list[tuple[str, dict[str, str | float]]]) -> None:
        assert self._producer is not None
        assert self._producer.stdin is not None
        self._producer.stdin.write(json.dumps(wanted) + "\n")
        self._producer.stdin.flush()
        self._hear("done")

    def _hear(self, word: str) -> None:
        assert self._producer is not None
        assert self._producer.stdout is not None
        said = self._producer.stdout.readline().strip()
        assert said == word, f"the producer of {self.name} said {said!r}"

    def _queues(self) -> list[str]:
        return []

    def _environ(self) -> dict[str, str]:
        return {**super()._environ(), "PEER_URL": self._url(tcp=False), "PYTHONPATH": str(self.project)}

    def _clients(self) -> int:
        """Connections by the unix socket: its workers'."""
        return sum(one["addr"].endswith(":0") for one in self.harness.client_list())


class Dramatiq(Peer):
    """`dramatiq MODULE`: a process for each core, here told to be four, with 8 threads each
    (https://dramatiq.io/guide.html#workers). Results are kept only where one asks for them, so none are."""

    name = "dramatiq"
    module = "dramatiq_peer"
    places = SLOTS * 8
    #: A process fetches twice as many messages as it has threads.
    gates = places * 2

    def _command(self) -> list[str]:
        return [str(VENV / "dramatiq"), self.module, "--processes", str(SLOTS)]

    def _ready(self) -> bool:
        return self._clients() >= SLOTS


class Saq(Peer):
    """`saq SETTINGS --workers 4`, 10 jobs at a time in each as in its example (https://github.com/tobymao/saq#usage).
    Installed with hiredis, as it says. Results are kept for ten minutes."""

    name = "saq"
    module = "saq_peer"
    places = gates = SLOTS * 10

    def _command(self) -> list[str]:
        return [str(VENV / "saq"), f"{self.module}.settings", "--workers", str(SLOTS)]

    def _tell_to_leave(self, process: subprocess.Popen[bytes]) -> None:
        # The first of them waits for the others, and tells them nothing.
        os.killpg(process.pid, signal.SIGTERM)

    def _ready(self) -> bool:
        return self._clients() >= SLOTS * 10


class Arq(Peer):
    """`arq WorkerSettings`, four of them, 10 jobs at a time in each (https://arq-docs.helpmanual.io/). It polls every
    0.5 s and takes what its places are free for. Results are kept for an hour."""

    name = "arq"
    module = "arq_peer"
    places = gates = SLOTS * 10

    def _command(self) -> list[str]:
        several = str(Path(__file__).with_name("several.py"))
        return [sys.executable, several, str(SLOTS), str(VENV / "arq"), f"{self.module}.WorkerSettings"]

    def _ready(self) -> bool:
        return self._clients() >= SLOTS


class Celery(Peer):
    """`celery worker --concurrency 4`: a pool of four processes, that many for that many cores as it comes, and a
    large prefetch as its guide advises for many short tasks
    (https://docs.celeryq.dev/en/stable/userguide/optimizing.html#prefetch-limits). No result backend: it has none
    unless one is named. A task is acknowledged before it runs."""

    name = "celery"
    module = "celery_peer"

    def _command(self) -> list[str]:
        return [str(VENV / "celery"), "-A", self.module, "worker", "--concurrency", str(SLOTS), "--loglevel", "WARNING"]

    def _url(self, tcp: bool) -> str:
        return super()._url(tcp) if tcp else f"redis+socket://{self.server.socket}"

    def _ready(self) -> bool:
        return bool(self.harness.exists("_kombu.binding.celery")) and self._clients() >= 2


PEERS: tuple[type[Peer], ...] = (Dramatiq, Saq, Arq, Celery)
