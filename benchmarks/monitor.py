"""Counts the commands of clients as MONITOR shows them, those of scripts and of the harness apart."""

from __future__ import annotations

import queue
import re
import secrets
import socket
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

_LINE = re.compile(rb'^\+[\d.]+ \[\d+ (\S+)\] "([^"]*)"(?: "((?:[^"\\]|\\.)*)")?')


@dataclass
class Seen:
    """Commands by name. `workers` came by the unix socket, `harness` by TCP, `scripts` from inside Lua.

    `evaluated`: the scripts that workers have run, by their SHA1.
    """

    workers: Counter[str] = field(default_factory=Counter)
    harness: Counter[str] = field(default_factory=Counter)
    scripts: Counter[str] = field(default_factory=Counter)
    evaluated: Counter[str] = field(default_factory=Counter)

    def take(self, line: bytes) -> tuple[str, bytes]:
        """Count one line, unless it is a mark of ours (ECHO); gives the command and its first argument."""
        found = _LINE.match(line)
        if found is None:
            return "", b""
        who, name = found[1], found[2].decode().lower()
        clients = self.workers if who.startswith(b"unix:") else self.harness
        kind = self.scripts if who == b"lua" else clients
        if name != "echo":
            kind[name] += 1
        if name == "evalsha" and kind is self.workers:
            self.evaluated[found[3].decode()] += 1
        return name, found[3] or b""


class Monitor:
    """Listens between `with` and its end; `seen` is complete after it. `harness` is a client that came by TCP."""

    def __init__(self, path: str, harness: Any) -> None:
        self.seen = Seen()
        self._path = path
        self._harness = harness
        self._marks: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def __enter__(self) -> Monitor:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(600.0)
        self._socket.connect(self._path)
        self._file = self._socket.makefile("rb")
        self._socket.sendall(b"MONITOR\r\n")
        assert self._file.readline() == b"+OK\r\n"
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._catch_up()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._file.close()
        self._socket.close()

    def harness_so_far(self) -> Counter[str]:
        """The harness's own commands until now."""
        self._catch_up()
        return Counter(self.seen.harness)

    def _catch_up(self) -> None:
        """What was done before this is in the stream before it."""
        mark = secrets.token_hex(16)
        self._harness.echo(mark)
        while self._marks.get(timeout=60.0) != mark.encode():
            continue

    def _listen(self) -> None:
        with suppress(OSError, ValueError):
            for line in self._file:
                name, argument = self.seen.take(line)
                if name == "echo":
                    self._marks.put(argument)
