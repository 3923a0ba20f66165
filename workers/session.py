"""One opening of a project and its Redis: what every command and every producer begins with."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from proofq.policies.settlement import Limits
from proofq.workers import connection, keys, project
from proofq.workers.clock import SystemClock
from proofq.workers.door import Door
from proofq.workers.project import Project
from proofq.workers.reading import reading
from proofq.workers.scripts import RedisRunner
from proofq.workers.store import Store


@dataclass(frozen=True)
class Session:
    """A project as read (its modules not imported), and the store in the Redis it uses."""

    project: Project
    store: Store
    #: Where that Redis is. It may hold a password: show it through `connection.redact`.
    url: str

    @property
    def door(self) -> Door:
        """The door for acts of people. What they may do needs no lease and no bounds; those are a worker's."""
        return Door(self.store, Limits())

    def now_ms(self) -> int:
        """Epoch milliseconds of the Redis server, with which every time of a task is compared."""
        with reading(keys.TASKS):
            seconds, micros = self.store.client.time()
        return int(seconds) * 1000 + int(micros) // 1000


def open_session(start: Path | None = None, environ: Mapping[str, str] | None = None) -> Session:
    """Read the project found from `start` (the cwd) and connect; the embedded Redis is started where none is named.

    Raises DeclarationError, BadInput, RedisUnavailable.
    """
    environ = os.environ if environ is None else environ
    return open_project(project.load(start, environ=environ), environ)


def open_store(start: Path | None = None, environ: Mapping[str, str] | None = None) -> Session:
    """Connect without reading the declarations of the project found from `start`, which may be broken.

    Raises DeclarationError when PROOFQ_CONFIG names no file, BadInput, RedisUnavailable.
    """
    environ = os.environ if environ is None else environ
    return open_project(project.locate(start, environ=environ), environ)


def open_project(read: Project, environ: Mapping[str, str] | None = None) -> Session:
    """Connect to the Redis of a project that was read already. Raises RedisUnavailable."""
    url = connection.resolve_url(read.root, os.environ if environ is None else environ)
    client = connection.connect(url)
    return Session(read, Store(client, RedisRunner(client), SystemClock()), url)


# --- the one that a producing process keeps ------------------------------------------------------------------------

_lock = threading.Lock()
_shared: tuple[object, Session] | None = None


def shared() -> Session:
    """The session of this process for the project around its working directory; opened once, and anew when the
    directory, the settings in the environment or proofq.toml change."""
    global _shared
    with _lock:
        now = _surroundings()
        if _shared is None or _shared[0] != now:
            _shared = (now, open_session())
        return _shared[1]


def forget() -> None:
    """Open anew next time, which also starts an embedded Redis again that went away."""
    global _shared
    with _lock:
        _shared = None


def _surroundings() -> object:
    config = project.find()
    changed = None if config is None else config.stat().st_mtime_ns
    settings = sorted((name, value) for name, value in os.environ.items() if name.startswith("PROOFQ_"))
    return os.getpid(), str(Path.cwd()), config, changed, os.environ.get("REDIS_URL"), settings
