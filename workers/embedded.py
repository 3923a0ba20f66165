"""The embedded Redis: a private server per project, started by the first command that needs it.

All commands of the project share it. It listens on a unix socket (0700) only, appends every write to a file, and
lives on when the command ends. How it is told apart from what is left of another: embedded_home.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from proofq.workers import embedded_socket
from proofq.workers.embedded_home import Home
from proofq.workers.errors import RedisUnavailable

#: Seconds a command waits for the server to start and load its data, or for another command that starts it.
WAIT_S = 30.0


@dataclass(frozen=True)
class Status:
    """The embedded server as seen now. `state`: running, loading, silent (alive, no answer) or stopped."""

    state: str
    url: str | None
    pid: int | None
    binary: str | None
    version: str | None
    data_dir: str
    log: str


def ensure(state_dir: Path, *, environ: Mapping[str, str] | None = None, wait_s: float = WAIT_S) -> str:
    """The URL of the project's server, which is running and answers; started now if it was not.

    Safe when many processes call it at once: one starts, the others wait. A server started here outlives the
    caller, unless the caller is (or lives below) a subreaper that kills what it adopts. `wait_s` bounds all
    of it. Raises RedisUnavailable, with what to do.
    """
    environ = os.environ if environ is None else environ
    home = Home(state_dir)
    record = home.record()
    if record is not None and embedded_socket.ask(record.socket) == "ready":
        return embedded_socket.url(record.socket)
    deadline = time.monotonic() + wait_s
    with home.usable():
        home.make()
        with home.starting(deadline):
            if home.occupied() and home.lost_its_socket():
                # Somebody removed the socket file (a cleaner of /tmp): no one can reach this server any more.
                home.terminate(deadline)
            # One that is there may be on its way out, or be killed and survived by the child that rewrites its file.
            if not home.occupied() or not home.await_ready(deadline):
                home.start(environ)
                if not home.await_ready(deadline):
                    raise RedisUnavailable(f"The embedded Redis ended at once; {home.log} says: {home.last_words()}")
            return home.url()


def stop(state_dir: Path, *, wait_s: float = WAIT_S) -> bool:
    """End the project's server in an orderly way, its data on disk. False when none was running.

    Raises RedisUnavailable when it is still there after `wait_s`.
    """
    home = Home(state_dir)
    deadline = time.monotonic() + wait_s
    with home.usable():
        if not home.occupied():
            return False
        with home.starting(deadline):
            home.terminate(deadline)
        return True


def status(state_dir: Path) -> Status:
    """What the project's server is doing; starts nothing, waits for nothing longer than a second."""
    home = Home(state_dir)
    record = home.record()
    with home.usable():
        occupied = home.occupied()
    if not occupied:
        state = "stopped"
    else:
        answer = embedded_socket.ask(record.socket) if record is not None else None
        state = {"ready": "running", "loading": "loading"}.get(answer or "", "silent")
    running = state != "stopped"
    return Status(
        state=state,
        url=embedded_socket.url(record.socket) if running and record is not None else None,
        pid=home.pid() if running else None,
        binary=record.binary.path if record is not None else None,
        version=record.binary.version if record is not None else None,
        data_dir=str(home.data),
        log=str(home.log),
    )
