"""The embedded Redis: a private server per project, started by the first command that needs it.

All commands of the project share it. It listens on a unix socket (0700) only, appends every write to a file,
and lives on when the command ends. Nothing here trusts a pid or a socket file alone. In <state dir>/redis:

    alive.lock    locked by the server itself (it inherits the open file), so the kernel frees it with the
                  server's death, however that comes: locked means that a server has this data
    start.lock    held by the one command that starts or stops the server
    server.json   what was started last: the program that wrote the data, the socket, and the directory this
                  is true for (a copied project brings the file along)
    server.log    what the server said
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from proofq.workers import embedded_socket, redis_binary, statedir
from proofq.workers.errors import RedisUnavailable
from proofq.workers.redis_binary import Binary

#: Seconds a command waits for the server to start and load its data, or for another command that starts it.
WAIT_S = 30.0
#: Seconds a locked data directory may lack its socket before the socket counts as deleted by somebody.
_SOCKET_GONE_S = 2.0
#: Variables the server gets: none of ours, none of the user's secrets, no marker of who starts it.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")


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


@dataclass(frozen=True)
class _Record:
    """server.json: the program that last had the data, its socket, the directory (device, inode) meant."""

    binary: Binary
    socket: str
    directory: tuple[int, int]


def ensure(state_dir: Path, *, environ: Mapping[str, str] | None = None, wait_s: float = WAIT_S) -> str:
    """The URL of the project's server, which is running and answers; started now if it was not.

    Safe when many processes call it at once: one starts, the others wait. A server started here outlives the
    caller, unless the caller is (or lives below) a subreaper that kills what it adopts. `wait_s` bounds all
    of it. Raises RedisUnavailable, with what to do.
    """
    environ = os.environ if environ is None else environ
    home = _Home(state_dir)
    record = home.record()
    if record is not None and embedded_socket.ask(record.socket) == "ready":
        return embedded_socket.url(record.socket)
    home.make()
    deadline = time.monotonic() + wait_s
    with home.starting(deadline):
        if home.occupied() and not home.lost_its_socket():
            return embedded_socket.url(home.await_ready(deadline))
        if home.occupied():
            # Somebody removed the socket file (a cleaner of /tmp): no one can reach this server any more.
            home.terminate(deadline)
        home.start(environ)
        return embedded_socket.url(home.await_ready(deadline))


def stop(state_dir: Path, *, wait_s: float = WAIT_S) -> bool:
    """End the project's server in an orderly way, its data on disk. False when none was running.

    Raises RedisUnavailable when it is still there after `wait_s`.
    """
    home = _Home(state_dir)
    if not home.occupied():
        return False
    deadline = time.monotonic() + wait_s
    with home.starting(deadline):
        home.terminate(deadline)
    return True


def status(state_dir: Path) -> Status:
    """What the project's server is doing; starts nothing, waits for nothing longer than a second."""
    home = _Home(state_dir)
    record = home.record()
    if not home.occupied():
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


class _Home:
    """The data directory of one embedded server, and what may be done to that server."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir.absolute()
        self.data = self.state_dir / "redis"
        self.log = self.data / "server.log"
        self._record = self.data / "server.json"
        self._pidfile = self.data / "server.pid"
        self._alive = self.data / "alive.lock"

    def make(self) -> None:
        """Create the data directory. Raises BadInput or RedisUnavailable when that is not possible."""
        statedir.make(self.state_dir)
        try:
            self.data.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise RedisUnavailable(f"The embedded Redis cannot use {self.data}: {error.strerror}.") from error

    @contextlib.contextmanager
    def starting(self, deadline: float) -> Iterator[None]:
        """Be the only one that starts or stops this server."""
        with (self.data / "start.lock").open("a") as lock:
            if not _until(lambda: _locks(lock.fileno()), deadline):
                raise RedisUnavailable(
                    f"Another command is still starting the embedded Redis of {self.state_dir}."
                )
            yield

    def occupied(self) -> bool:
        """Whether a server has this data directory, be it starting, loading, serving, stopped or hanging."""
        try:
            with self._alive.open("r") as lock:
                # Shared, so that two who look at once do not take each other for a server.
                return not _locks(lock.fileno(), fcntl.LOCK_SH)
        except FileNotFoundError:
            return False

    def lost_its_socket(self) -> bool:
        """Whether the server lives but its socket file stays away."""
        record = self.record()
        if record is None:
            return True
        there = _until(lambda: Path(record.socket).exists(), time.monotonic() + _SOCKET_GONE_S)
        return not there

    def start(self, environ: Mapping[str, str]) -> None:
        """Start a server on this data; it goes into the background by itself and may not answer yet."""
        binary = redis_binary.choose(environ, self._wrote())
        path = embedded_socket.socket_path(self._identity(), environ)
        # Written first: should we die right after the start, the next command finds server and socket, and an
        # older program is refused from the moment this one may have written.
        self._save(_Record(binary, path, self._identity()))
        options = {
            "port": "0",
            "unixsocket": path,
            "unixsocketperm": "700",
            "dir": str(self.data),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "aof-load-truncated": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "yes",
            "pidfile": str(self._pidfile),
            "logfile": str(self.log),
        }
        command = [binary.path, *(word for key, value in options.items() for word in (f"--{key}", value))]
        with self._alive.open("a") as alive:
            # Whoever looks whether a server is there holds it too, for an instant.
            if not _until(lambda: _locks(alive.fileno()), time.monotonic() + 1.0):
                raise RedisUnavailable(
                    f"A server appeared on {self.data} while one was being started; try again."
                )
            started = subprocess.run(
                command,
                env={name: environ[name] for name in _ENVIRONMENT if name in environ},
                cwd=self.data,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                pass_fds=[alive.fileno()],
            )
        if started.returncode != 0:
            said = (started.stdout + started.stderr).strip() or self._last_words()
            raise RedisUnavailable(f"{binary} did not start: {said}")

    def await_ready(self, deadline: float) -> str:
        """Wait until the server answers; return its socket. Raises RedisUnavailable when it never does."""
        record = self.record()
        if record is None:
            raise RedisUnavailable(
                f"A server has {self.data}, but {self._record.name} there does not say where it listens. "
                f"End it (pid {self.pid()}) and try again."
            )
        answer: str | None = None

        def settled() -> bool:
            nonlocal answer
            answer = embedded_socket.ask(record.socket)
            return answer == "ready" or not self.occupied()

        _until(settled, deadline)
        if answer == "ready":
            return record.socket
        if not self.occupied():
            raise RedisUnavailable(
                f"The embedded Redis ended while starting; {self.log} says: {self._last_words()}"
            )
        doing = "is still loading its data" if answer == "loading" else "runs but does not answer"
        raise RedisUnavailable(
            f"The embedded Redis (pid {self.pid()}) {doing}; see {self.log}, or try again later."
        )

    def terminate(self, deadline: float) -> None:
        """Ask the server to end (it writes its data out) and wait until it has."""
        pid = self.pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        if not _until(lambda: not self.occupied(), deadline):
            raise RedisUnavailable(
                f"The embedded Redis (pid {pid or 'unknown'}) on {self.data} does not end; see {self.log}."
            )

    def pid(self) -> int | None:
        """The pid of the server that has this data now, as far as it can be told for sure."""
        try:
            pid = int(self._pidfile.read_text())
            same = (Path("/proc") / str(pid) / "cwd").stat()
        except (OSError, ValueError):
            return None
        # A pid alone may have become somebody else's; a server works inside its data directory.
        return pid if (same.st_dev, same.st_ino) == self._identity() else None

    def record(self) -> _Record | None:
        """What server.json says, if it is true for this directory and not for the one it was copied from."""
        record = self._read()
        return record if record is not None and record.directory == self._identity() else None

    def _wrote(self) -> Binary | None:
        """The program that wrote the data here; None when there is no data."""
        record = self._read()
        if record is not None:
            return record.binary
        if (self.data / "appendonlydir").exists():
            return Binary("unrecorded", "redis", "7.0.0")
        if (self.data / "appendonly.aof").exists():
            return Binary("unrecorded", "redis", "6.2.0")
        return None

    def _read(self) -> _Record | None:
        try:
            found = json.loads(self._record.read_text())
            device, inode = found["directory"]
            binary = Binary(found["binary"], found["product"], found["version"])
            _ = binary.series
            return _Record(binary, found["socket"], (device, inode))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _save(self, record: _Record) -> None:
        document = {
            "binary": record.binary.path,
            "product": record.binary.product,
            "version": record.binary.version,
            "socket": record.socket,
            "directory": list(record.directory),
        }
        new = self._record.with_suffix(".new")
        with new.open("w") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._record)

    def _identity(self) -> tuple[int, int]:
        found = self.data.stat()
        return found.st_dev, found.st_ino

    def _last_words(self) -> str:
        """The end of the server's log, as one line."""
        with contextlib.suppress(OSError):
            return " | ".join(self.log.read_text(errors="replace").splitlines()[-4:])
        return "nothing"


def _locks(fd: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Whether the lock could be taken (and is now held until the file is closed)."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _until(done: Callable[[], bool], deadline: float) -> bool:
    """Ask at once and then every 10 ms, until done or the (monotonic) deadline has passed; whether done."""
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True
