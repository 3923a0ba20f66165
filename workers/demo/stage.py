"""Where the demo plays: a temporary project with a Redis of its own, two real workers, and what is left of them."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from proofq.workers import killing, proctree
from proofq.workers.errors import Error

#: Seconds a worker gets to boot, and to leave after TERM.
BOOT_S: Final = 30.0
LEAVE_S: Final = 15.0
#: What a worker's log says once it leases.
READY: Final = "worker_ready"


class StageError(Error):
    """The demo could not be played: a worker or a command did not do what it must."""

    kind = "demo"


class Until:
    """Time to look, ten times a second, for so many seconds."""

    def __init__(self, within_s: float) -> None:
        self._end = time.monotonic() + within_s

    def look_again(self) -> bool:
        """Wait for the next look; False when the time is over."""
        time.sleep(0.1)
        return time.monotonic() < self._end


@dataclass(frozen=True)
class Worker:
    """One `proofq worker`: its launcher, and where its log goes."""

    name: str
    launcher: subprocess.Popen[bytes]
    log: Path

    @property
    def processes(self) -> list[proctree.Process]:
        """The launcher and all below it that live."""
        return proctree.tree(self.launcher.pid)

    def wait_ready(self) -> None:
        """Wait until it leases. Raises StageError when it does not, with what it said last."""
        booting = Until(BOOT_S)
        while READY not in self._said():
            if self.launcher.poll() is not None or not booting.look_again():
                said = self._said()[-1500:].strip() or "nothing"
                raise StageError(f"Worker {self.name} did not get ready within {BOOT_S:g} s; it said: {said}")

    def _said(self) -> str:
        return self.log.read_text("utf-8", "replace")


class Stage:
    """A project folder that is gone afterwards. Every command and worker of it sees no other Redis or setting."""

    def __init__(self, root: Path) -> None:
        self.root = root
        #: Where agents write; made by the cast.
        self.out = root / "out"
        self.environment = _environment(root)
        self.workers: list[Worker] = []

    def start_worker(self, name: str) -> Worker:
        """Start one; it is not ready yet."""
        log = self.root / f"worker-{name}.log"
        with log.open("wb") as said:
            launcher = subprocess.Popen(
                [sys.executable, "-m", "proofq", "worker"],
                cwd=self.root,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        worker = Worker(name, launcher, log)
        self.workers.append(worker)
        return worker

    def command(self, *words: str) -> Any:
        """What `proofq WORDS --json` answers, in this process. Raises StageError when it answers with an error."""
        from proofq.workers.cli.main import execute  # the command line knows the demo as one of its commands

        answered, said = io.StringIO(), io.StringIO()
        execute([*words, "--json"], answered, said)
        answer = json.loads(answered.getvalue())
        if "error" in answer:
            raise StageError(f"`proofq {' '.join(words)}` failed: {answer['error']['message']}")
        return answer

    def leave(self, worker: Worker) -> int | None:
        """Ask a worker to drain; its exit code, None if it had to be killed."""
        worker.launcher.terminate()
        try:
            return worker.launcher.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            kill(worker.processes)
            return None

    def left(self) -> list[str]:
        """What still lives of all that was started here, the Redis server included, as "pid command"."""
        mine = proctree.descendants(os.getpid())
        return [f"{one.pid} {_command_of(one.pid)}" for one in mine if not one.dead]

    def clear(self) -> None:
        """End whatever is left."""
        for _ in range(2):
            kill([one for one in proctree.descendants(os.getpid()) if not one.dead])
            with suppress(StageError, subprocess.TimeoutExpired):
                wait_until(lambda: not self.left(), 3.0, "the end of everything")


@contextmanager
def stage() -> Iterator[Stage]:
    """A stage to play on. This process becomes a subreaper: what is started on the stage cannot get out of its sight.

    While it is open, this process's own settings are those of the project. The folder is removed at the end. Only for
    the main thread of a command.
    """
    proctree.become_subreaper()
    root = Path(tempfile.mkdtemp(prefix="proofq-demo-"))
    shutil.copytree(Path(__file__).parent / "project", root, dirs_exist_ok=True, ignore=_no_caches)
    made = Stage(root)
    before = dict(os.environ)
    _replace(os.environ, made.environment)
    on_term = signal.signal(signal.SIGTERM, _leave_in_order)
    try:
        yield made
    finally:
        made.clear()
        signal.signal(signal.SIGTERM, on_term)
        _replace(os.environ, before)
        shutil.rmtree(root, ignore_errors=True)


def kill(processes: list[proctree.Process]) -> None:
    """kill -9 of each, in this order."""
    for one in processes:
        killing.send(one.pid, signal.SIGKILL)


def wait_until(seen: Callable[[], bool], within_s: float, what: str) -> None:
    """Look ten times a second until it is seen. Raises StageError when it is not within the time."""
    waiting = Until(within_s)
    while not seen():
        if not waiting.look_again():
            raise StageError(f"{what} did not come within {within_s:g} s")


def _leave_in_order(number: int, _: object) -> NoReturn:
    """TERM unwinds like Ctrl-C, so that nothing is left of the stage."""
    sys.exit(128 + number)


def _environment(root: Path) -> dict[str, str]:
    """The caller's, without its Redis and its settings: the demo must never write into somebody's own store."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PROOFQ_") and name != "REDIS_URL"}
    return kept | {"PROOFQ_CONFIG": str(root / "proofq.toml")}


def _replace(environ: Any, by: Mapping[str, str]) -> None:
    environ.clear()
    environ.update(by)


def _no_caches(_: str, names: list[str]) -> set[str]:
    return {name for name in names if name == "__pycache__"}


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")[:120]
    except OSError:
        return "?"
