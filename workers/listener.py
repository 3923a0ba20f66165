"""Hears what an agent program prints while it runs, line by line, and ends it when that says enough."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Final

from proofq.policies import live
from proofq.policies.failure import Failure
from proofq.policies.live import LIVE, Heard, Trouble

#: Shortest and longest line that is heard, in bytes; others are passed over.
MIN_LINE_BYTES: Final = 16
MAX_LINE_BYTES: Final = 64 * 1024
_LINES: Final = re.compile(rb"[^\n]{%d,}" % MIN_LINE_BYTES)


class Lines:
    """Cuts what comes in pieces into lines, and gives those of 16 bytes and more to `on_line`.

    A shorter one says nothing, and costs no more than passing over it. Keeps at most one line of memory.
    """

    def __init__(self, on_line: Callable[[bytes], None]) -> None:
        self._on_line = on_line
        self._begun = bytearray()
        self._too_long = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        first, last = data.find(b"\n"), data.rfind(b"\n")
        if first < 0:
            self._add(data)
            return
        self._add(data[:first])
        self._tell(bytes(self._begun))
        self._begun.clear()
        self._too_long = False
        for line in _LINES.finditer(data, first + 1, last):
            self._tell(line[0])
        self._add(data[last + 1 :])

    def _add(self, piece: bytes) -> None:
        self._too_long = self._too_long or len(self._begun) + len(piece) > MAX_LINE_BYTES
        if self._too_long:
            self._begun.clear()
        else:
            self._begun += piece

    def _tell(self, line: bytes) -> None:
        if MIN_LINE_BYTES <= len(line) <= MAX_LINE_BYTES:
            self._on_line(line)


class Listener:
    """Listens to one attempt. `reads` is its adapter's: what a line says. Lines come from one thread."""

    def __init__(self, reads: Callable[[bytes], Heard]) -> None:
        self._reads = reads
        self._trouble = Trouble()
        self._lock = threading.Lock()
        self._kill: Callable[[str], None] | None = None
        #: Why it was ended by us; None while nothing it said was enough.
        self.failure: Failure | None = None

    def hear(self, line: bytes) -> None:
        """Take one line; once enough was heard, nothing more is read."""
        if self.failure is not None:
            return
        self._trouble, failure = live.hear(self._trouble, self._reads(line))
        if failure is not None:
            with self._lock:
                self.failure = failure
                kill = self._kill
            if kill is not None:
                kill(LIVE)

    def attach(self, kill: Callable[[str], None]) -> None:
        """Say how to end it; ends it at once if enough was heard before."""
        with self._lock:
            self._kill = kill
            failure = self.failure
        if failure is not None:
            kill(LIVE)
