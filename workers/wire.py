"""Messages between our own processes: JSON objects, each after its length, with file descriptors beside them.

    frame = 4 bytes length, big endian | JSON object, ASCII | descriptors by SCM_RIGHTS with the first byte

The object's "fds" says how many descriptors belong to it. They arrive in order and never after the bytes they
came with, so taking that many from the front of those received pairs them again.
"""

from __future__ import annotations

import array
import json
import os
import select
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Longest frame, in bytes: inputs are up to 16 MiB of JSON, more when they are escaped.
MAX_FRAME_BYTES = 32 * 1024 * 1024
#: Most descriptors with one message; the kernel's own limit is 253.
MAX_FDS = 16

_LENGTH = struct.Struct(">I")
#: Bytes of one read. Room for more than 128 KiB would be mapped and unmapped for each message, at half its price.
_CHUNK = 64 * 1024
#: Ancillary data of one read: room for the most descriptors there may be.
_ROOM = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)
#: Made once: as a call's option each message would pay for an encoder of its own.
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


class WireError(Exception):
    """The other side breaks the rules: a frame too long, not JSON, or without the descriptors it names."""


class Message(NamedTuple):
    """What was received. Who takes the message closes its descriptors."""

    body: dict[str, Any]
    fds: list[int]


class Decoder:
    """Turns bytes and descriptors, in whatever pieces they come, into messages."""

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = bytearray()
        self._fds: deque[int] = deque()

    def feed(self, data: bytes, fds: Sequence[int] = ()) -> Iterator[Message]:
        """Yield the messages that are complete now. Raises WireError; the stream is then of no more use."""
        self._bytes += data
        self._fds.extend(fds)
        while (message := self._next()) is not None:
            yield message

    def close(self) -> None:
        """Close the descriptors that no message has claimed."""
        while self._fds:
            os.close(self._fds.popleft())

    def _next(self) -> Message | None:
        if len(self._bytes) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._bytes)
        if length > self._max_bytes:
            raise WireError(f"a frame of {length} bytes; at most {self._max_bytes} are taken")
        end = _LENGTH.size + length
        if len(self._bytes) < end:
            return None
        body = _parse(bytes(self._bytes[_LENGTH.size : end]))
        del self._bytes[:end]
        count = body.pop("fds", 0)
        if not isinstance(count, int) or not 0 <= count <= len(self._fds):
            raise WireError(f"a message names {count!r} descriptors, {len(self._fds)} came")
        return Message(body, [self._fds.popleft() for _ in range(count)])


def encode(body: dict[str, Any], fd_count: int = 0, max_bytes: int = MAX_FRAME_BYTES) -> bytes:
    """One frame. Raises WireError when it is too long, TypeError or ValueError when it is no strict JSON."""
    text = _ENCODER.encode({**body, "fds": fd_count} if fd_count else body)
    if len(text) > max_bytes:
        raise WireError(f"a message of {len(text)} bytes; at most {max_bytes} are sent")
    return _LENGTH.pack(len(text)) + text.encode("ascii")


class Channel:
    """One end of a socket pair. Owns the socket, which it makes non-blocking.

    One thread may read while another one sends, no more than that. `send` waits until all is written; `put` and
    `flush` never wait, for a loop that must not.
    """

    def __init__(self, sock: socket.socket, max_bytes: int = MAX_FRAME_BYTES) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._max_bytes = max_bytes
        self._decoder = Decoder(max_bytes)
        self._unsent = bytearray()
        #: True once the other side is gone. What was received before is still given out.
        self.eof = False

    def fileno(self) -> int:
        """The socket's descriptor, for a selector."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the socket and every descriptor that came in but was given to nobody."""
        self._decoder.close()
        self._sock.close()

    def send(self, body: dict[str, Any], fds: Sequence[int] = (), timeout_s: float | None = None) -> None:
        """Send one message; the descriptors stay the caller's too. Raises OSError, TimeoutError, WireError.

        `timeout_s` bounds each wait for room (None: no bound). After an error the channel is of no more use.
        """
        frame = memoryview(encode(body, len(fds), self._max_bytes))
        while frame:
            try:
                sent = self._sendmsg(frame, fds)
            except BlockingIOError:
                self._wait(select.POLLOUT, timeout_s)
                continue
            frame, fds = frame[sent:], ()

    def offer(self, body: dict[str, Any], fds: Sequence[int] = ()) -> bool:
        """Send one message if all of it goes at once. After a False the channel is of no more use."""
        try:
            self.send(body, fds, timeout_s=0)
        except (OSError, WireError):
            return False
        return True

    def put(self, body: dict[str, Any]) -> None:
        """Queue one message and write what goes at once. A peer that is gone sets `eof`."""
        self.queue(body)
        self.flush()

    def queue(self, body: dict[str, Any]) -> None:
        """Queue one message, to be written by the next `flush` together with others."""
        self._unsent += encode(body, 0, self._max_bytes)

    def flush(self) -> bool:
        """Write what is queued as far as it goes; True when nothing is left."""
        while self._unsent and not self.eof:
            try:
                sent = self._sock.send(self._unsent)
            except BlockingIOError:
                return False
            except OSError:
                self.eof = True
                break
            del self._unsent[:sent]
        return True

    def read(self) -> list[Message]:
        """What has arrived, without waiting; sets `eof` when the other side is gone. Raises WireError."""
        messages: list[Message] = []
        while not self.eof:
            try:
                data, fds = self._recvmsg()
            except BlockingIOError:
                break
            except ConnectionError:
                data, fds = b"", []
            if not data:
                self.eof = True
            messages.extend(self._decoder.feed(data, fds))
            if len(data) < _CHUNK and not fds:
                # All there was, but for what stands behind descriptors, where the kernel stops.
                break
        return messages

    def receive(self, timeout_s: float | None = None) -> Iterator[Message]:
        """Yield messages until the other side is gone. Raises TimeoutError when none comes in time."""
        while not self.eof:
            self._wait(select.POLLIN, timeout_s)
            yield from self.read()

    def wait(self, timeout_s: float) -> bool:
        """Whether something can be read by then."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def _wait(self, event: int, timeout_s: float | None) -> None:
        poll = select.poll()
        poll.register(self._sock, event)
        if not poll.poll(None if timeout_s is None else timeout_s * 1000):
            raise TimeoutError(f"the other side did nothing for {timeout_s} s")

    def _sendmsg(self, data: memoryview, fds: Sequence[int]) -> int:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        return self._sock.sendmsg([data], rights, socket.MSG_NOSIGNAL)

    def _recvmsg(self) -> tuple[bytes, list[int]]:
        data, rights, flags, _ = self._sock.recvmsg(_CHUNK, _ROOM, socket.MSG_CMSG_CLOEXEC)
        if not rights and not flags & socket.MSG_CTRUNC:
            return data, []
        fds = array.array("i")
        for level, kind, payload in rights:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
        if flags & socket.MSG_CTRUNC:
            for descriptor in fds:
                os.close(descriptor)
            raise WireError("descriptors were lost on the way: too many files are open")
        return data, list(fds)


def _parse(frame: bytes) -> dict[str, Any]:
    try:
        body = json.loads(frame.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise WireError(f"a frame that is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise WireError("a frame that is no JSON object")
    return body
