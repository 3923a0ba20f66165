"""What attempts print, read by one thread for all of them: the newest bytes kept on disk, a tail in memory.

An agent that floods costs the disk its cap and memory its tail, and nothing else; one that leaves a pipe open in a
survivor delays nobody, since reading stops when the attempt has ended and what is in the pipe has been taken.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from proofq.policies.redaction import Veil
from proofq.workers import places

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from proofq.workers.clock import Clock
    from proofq.workers.report import ReportReader

log = logging.getLogger(__name__)

#: Bytes of one stream kept on disk unless a request says otherwise.
CAP_BYTES = 1024 * 1024
#: Bytes of one stream kept in memory.
TAIL_BYTES = 64 * 1024
#: One read. A pipe holds 64 KiB unless its owner made it larger.
_CHUNK = 64 * 1024
#: Most of answers that waits for a child to read them; what comes beyond is not said to it.
_UNSENT_BYTES = 512 * 1024
#: Most that is still taken from a pipe after the attempt has ended: a pipe can hold up to 1 MiB.
_DRAIN_BYTES = 1024 * 1024 + _CHUNK


class Capture:
    """One stream of one attempt. Written by the pump's thread; any thread may read what it has so far.

    `path` is a file made anew with mode 0600 once something is printed, holding at most `cap_bytes`, the newest; None
    keeps only the tail. `secrets` are hidden wherever they stand.
    `makes`: the directories above the file, too. `keep`: what is on disk can be read by `whole` and `newest` after the
    end, too.
    A file that cannot be made, or a disk that fails, is remembered in `problem`, and costs what is not in the tail.
    """

    def __init__(
        self,
        path: Path | None,
        cap_bytes: int = CAP_BYTES,
        *,
        keep: bool = False,
        secrets: Collection[str] = (),
        makes: bool = False,
    ) -> None:
        self._path = path
        self._cap = cap_bytes
        self._keep = keep
        self._makes = makes
        self._veil = Veil(secrets) if secrets else None
        self._kept: bytes | None = None
        self._tail = bytearray()
        self._on_disk = 0
        self._lock = threading.Lock()
        self._fd = -1
        #: Bytes printed so far, kept or not.
        self.total = 0
        #: The first error of writing to disk.
        self.problem: OSError | None = None

    def tail(self) -> bytes:
        """The last 64 KiB."""
        with self._lock:
            return bytes(self._tail)

    def whole(self) -> bytes | None:
        """All that was printed; None when that was more than is kept, or the disk failed."""
        with self._lock:
            if self.total <= len(self._tail):
                return bytes(self._tail)
            kept = self._on_hand()
            return kept if kept is not None and len(kept) == self.total else None

    def newest(self) -> bytes:
        """The newest of what was printed: at least half the cap while there is a file, at least the tail."""
        with self._lock:
            return self._on_hand() or bytes(self._tail)

    def write(self, data: bytes) -> None:
        """Take what was read from the stream."""
        with self._lock:
            self._take(data if self._veil is None else self._veil.pass_(data))

    def _take(self, data: bytes) -> None:
        self.total += len(data)
        self._tail += data
        if len(self._tail) > TAIL_BYTES:
            del self._tail[: len(self._tail) - TAIL_BYTES]
        if data and self._path is not None and self.problem is None:
            try:
                self._store(self._path, memoryview(data)[-self._cap :])
            except OSError as error:
                self.problem = error

    def close(self) -> None:
        """Close the file; what was kept stays readable."""
        with self._lock:
            if self._veil is not None:
                self._take(self._veil.rest())
            self._path = None
            if self._fd < 0:
                return
            try:
                self._kept = self._on_disk_now() if self._keep else None
            except OSError as error:
                self.problem = error
            os.close(self._fd)
            self._fd = -1

    def _on_hand(self) -> bytes | None:
        return self._kept if self._fd < 0 else self._on_disk_now()

    def _on_disk_now(self) -> bytes | None:
        # Read by the descriptor: by its name an agent may have put another file in its place.
        return os.pread(self._fd, self._on_disk, 0) if self.problem is None else None

    def _store(self, path: Path, data: memoryview) -> None:
        """Append; when that would pass the cap, first move the newest half to the front."""
        if self._fd < 0:
            if self._makes:
                places.make(str(path.parent.parent), str(path.parent))
            # Never what an agent has put there meanwhile, a link least of all.
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        if self._on_disk + len(data) > self._cap:
            keep = min(self._on_disk, self._cap // 2, self._cap - len(data))
            newest = os.pread(self._fd, keep, self._on_disk - keep)
            os.pwrite(self._fd, newest, 0)
            os.ftruncate(self._fd, len(newest))
            self._on_disk = len(newest)
        while data:
            written = os.pwrite(self._fd, data, self._on_disk)
            self._on_disk += written
            data = data[written:]


class Streams:
    """The pipes of one attempt, read together: stdout, stderr, and the report."""

    def __init__(self, stdout: Capture, stderr: Capture, report: ReportReader) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self.report = report
        #: Called by the pump's thread each time something of the report was read, and at its end.
        self.on_report: Callable[[], None] = lambda: None
        #: Given stdout as it comes, in the pump's thread, for who listens to it live.
        self.on_stdout: Callable[[bytes], None] | None = None
        #: Answers that the report's socket had no room for. The pump's thread's.
        self.unsent = bytearray()
        #: Every pipe has been read to its end. Set by the pump's thread, which has then no more to do with them.
        self.drained = False
        #: When the start was confirmed, in seconds of the boot clock; 0 before.
        self.started_s = 0.0
        #: When something was last printed, or new evidence of progress came, in seconds of the boot clock; 0 for never.
        self.heard_s = 0.0

    def close(self) -> None:
        """Nothing more will come."""
        self.stdout.close()
        self.stderr.close()

    def take(self, name: str, data: bytes, now_s: float) -> None:
        """Take what was read from one of the pipes at `now_s`."""
        if name != "report":
            capture: Capture = getattr(self, name)
            capture.write(data)
            if name == "stdout" and self.on_stdout is not None:
                self.on_stdout(data)
            self.heard_s = now_s if data else self.heard_s
            return
        told = self.report.progress_count
        if data:
            self.report.feed(data)
        else:
            self.report.end()
        if self.report.started and not self.started_s:
            self.started_s = now_s
        self.heard_s = now_s if self.report.progress_count > told else self.heard_s
        self.on_report()


class Pump:
    """The thread that reads all pipes. Owns the descriptors it is given.

    Speaks to epoll itself: three pipes come and go with each attempt, and a selector's books about them cost more than
    the reading.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._sources: dict[int, tuple[Streams, str]] = {}
        self._orders: deque[Callable[[], None]] = deque()
        self._open: dict[Streams, dict[int, str]] = {}
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="proofq-pump", daemon=True)
        self._thread.start()

    def add(self, streams: Streams, descriptors: dict[str, int]) -> None:
        """Read these pipes from now on: "stdout", "stderr", "report" to reading ends."""
        self._order(lambda: self._add(streams, descriptors))

    def tell(self, streams: Streams, line: bytes) -> None:
        """Write a line to whoever reads the report's socket; of no effect once it is closed."""
        self._order(partial(self._tell, streams, line))

    def finish(self, streams: Streams, then: Callable[[], None]) -> None:
        """The attempt has ended: take what is in its pipes, close them, and call `then`; where nothing is left in them,
        as is usual, at once and here, else in the pump's thread."""
        if streams.drained:
            streams.close()
            then()
        else:
            self._order(lambda: self._finish(streams, then))

    def close(self) -> None:
        """Stop, closing every descriptor; waits for the thread."""
        self._order(self._close)
        self._thread.join()

    def _order(self, order: Callable[[], None]) -> None:
        self._orders.append(order)
        os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        while not self._closing:
            for fd, events in self._epoll.poll():
                if fd == self._wake:
                    with suppress(BlockingIOError):
                        os.eventfd_read(self._wake)
                    continue
                if events & select.EPOLLOUT:
                    self._guarded(partial(self._send, self._sources[fd][0], fd))
                if events != select.EPOLLOUT:
                    self._guarded(partial(self._read, *self._sources[fd], fd))
            while self._orders:
                self._guarded(self._orders.popleft())
        for streams in list(self._open):
            for fd in list(self._open[streams]):
                self._forget(streams, fd)
            streams.close()
        self._epoll.close()
        os.close(self._wake)

    def _guarded(self, act: Callable[[], object]) -> None:
        """One attempt's trouble must not stop the reading of all others."""
        try:
            act()
        except Exception:
            log.exception("pump_error")

    def _add(self, streams: Streams, descriptors: dict[str, int]) -> None:
        self._open[streams] = {fd: name for name, fd in descriptors.items()}
        for name, fd in descriptors.items():
            self._sources[fd] = streams, name
            self._epoll.register(fd, select.EPOLLIN)

    def _tell(self, streams: Streams, line: bytes) -> None:
        fd = next((fd for fd, name in self._open.get(streams, {}).items() if name == "report"), None)
        if fd is not None and len(streams.unsent) <= _UNSENT_BYTES:
            streams.unsent += line
            self._send(streams, fd)

    def _send(self, streams: Streams, fd: int) -> None:
        """As much as there is room for; the rest once there is some again."""
        os.set_blocking(fd, False)
        try:
            while streams.unsent:
                del streams.unsent[: os.write(fd, streams.unsent)]
        except BlockingIOError:
            self._epoll.modify(fd, select.EPOLLIN | select.EPOLLOUT)
            return
        except OSError:
            # Nobody reads it any more; that the child has ended is read as ever.
            streams.unsent.clear()
        self._epoll.modify(fd, select.EPOLLIN)

    def _read(self, streams: Streams, name: str, fd: int) -> int:
        """One read of what there is, which epoll or `_ready` has said; 0 at its end."""
        try:
            data = os.read(fd, _CHUNK)
        except ConnectionResetError:
            # It ended with an answer unread.
            data = b""
        if not data:
            self._forget(streams, fd)
        streams.take(name, data, self._clock.boottime())
        if not self._open[streams]:
            del self._open[streams]
            streams.drained = True
        return len(data)

    def _finish(self, streams: Streams, then: Callable[[], None]) -> None:
        for fd, name in list(self._open.get(streams, {}).items()):
            taken = 0
            while taken < _DRAIN_BYTES and _ready(fd) and (got := self._read(streams, name, fd)):
                taken += got
            if fd in self._open.get(streams, ()):
                self._forget(streams, fd)
                if name == "report":
                    streams.take(name, b"", self._clock.boottime())
        self._open.pop(streams, None)
        streams.close()
        then()

    def _forget(self, streams: Streams, fd: int) -> None:
        self._open[streams].pop(fd, None)
        # The last descriptor of a pipe's end takes it off the epoll as well.
        del self._sources[fd]
        os.close(fd)

    def _close(self) -> None:
        self._closing = True


def _ready(fd: int) -> bool:
    """Whether a read would not wait: there is something, or nothing will ever be again."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def pipe() -> tuple[int, int]:
    """A pipe that no program of ours inherits by accident: reading end, writing end. Raises OSError."""
    return os.pipe2(os.O_CLOEXEC)


def both_ways() -> tuple[int, int]:
    """The same as a socket, on whose reading end answers are written. Raises OSError."""
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()
