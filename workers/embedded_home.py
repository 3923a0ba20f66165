"""The data directory of one embedded server, and what may be done to that server.

Nothing here trusts a pid or a socket file alone. In <state dir>/redis:

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

#: Seconds a locked data directory may lack its socket before the socket counts as deleted by somebody.
_SOCKET_GONE_S = 2.0
#: Variables the server gets: none of ours, none of the user's secrets, no marker of who starts it.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class Record:
    """server.json: the program that last had the data, its socket, the directory (device, inode) meant."""

    binary: Binary
    socket: str
    directory: tuple[int, int]


class Home:
    """The data directory of one embedded server, and what may be done to that server."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir.absolute()
        self.data = self.state_dir / "redis"
        self.log = self.data / "server.log"
        self._record = self.data / "server.json"
        self._pidfile = self.data / "server.pid"
        self._alive = self.data / "alive.lock"

    @contextlib.contextmanager
    def usable(self) -> Iterator[None]:
        """Say plainly when the data directory is another user's, the disk is full, and the like."""
        try:
            yield
        except OSError as error:
            raise RedisUnavailable(
                f"The embedded Redis cannot use {self.data}: {error.strerror or error}. Make it this user's, or name "
                "another state directory in PROOFQ_STATE_DIR."
            ) from error

    def make(self) -> None:
        """Create the data directory."""
        statedir.make(self.state_dir)
        self.data.mkdir(mode=0o700, exist_ok=True)

    @contextlib.contextmanager
    def starting(self, deadline: float) -> Iterator[None]:
        """Be the only one that starts or stops this server."""
        with (self.data / "start.lock").open("a") as lock:
            if not _until(lambda: _locks(lock.fileno()), deadline):
                raise RedisUnavailable(f"Another command is still starting the embedded Redis of {self.state_dir}.")
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
        self._save(Record(binary, path, self._identity()))
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
                raise RedisUnavailable(f"A server appeared on {self.data} while one was being started; try again.")
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
            said = (started.stdout + started.stderr).strip() or self.last_words()
            raise RedisUnavailable(f"{binary} did not start: {said}")

    def await_ready(self, deadline: float) -> bool:
        """Wait until the server answers; False when it has ended. Raises RedisUnavailable when it does neither."""
        record = self.record()
        if record is None:
            raise RedisUnavailable(
                f"A server has {self.data}, but {self._record.name} there does not say where it listens. "
                f"End it (pid {self.pid() or 'unknown'}) and try again."
            )
        answer: str | None = None

        def settled() -> bool:
            nonlocal answer
            answer = embedded_socket.ask(record.socket)
            return answer == "ready" or not self.occupied()

        if not _until(settled, deadline):
            doing = "is still loading its data" if answer == "loading" else "runs but does not answer"
            raise RedisUnavailable(
                f"The embedded Redis (pid {self.pid() or 'unknown'}) {doing}; see {self.log}, or try again later."
            )
        return answer == "ready"

    def url(self) -> str:
        """Where the server that was recorded last listens."""
        record = self.record()
        if record is None:
            raise RedisUnavailable(f"{self._record} went away while the embedded Redis was started; try again.")
        return embedded_socket.url(record.socket)

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

    def record(self) -> Record | None:
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

    def _read(self) -> Record | None:
        try:
            found = json.loads(self._record.read_text())
            device, inode = found["directory"]
            binary = Binary(found["binary"], found["product"], found["version"])
            _ = binary.series
            return Record(binary, found["socket"], (device, inode))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _save(self, record: Record) -> None:
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

    def last_words(self) -> str:
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
