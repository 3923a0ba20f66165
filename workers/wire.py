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
from contextlib import suppress
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
_DECODER = json.JSONDecoder()
# As plain numbers: an operation of the enums that they are takes longer than a system call.
_NO_SIGNAL, _TRUNCATED, _CLOSED_AT_EXEC = map(int, (socket.MSG_NOSIGNAL, socket.MSG_CTRUNC, socket.MSG_CMSG_CLOEXEC))


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
        #: The beginning of a frame, and how much of it there must be before there is more to do.
        self._begun = bytearray()
        self._wanted = 0
        self._fds: deque[int] = deque()

    def feed(self, data: bytes, fds: Sequence[int] = ()) -> list[Message]:
        """Give the messages that are complete now. Raises WireError; the stream is then of no more use."""
        if fds:
            self._fds.extend(fds)
        if self._begun:
            self._begun += data
            if len(self._begun) < self._wanted:
                return []
            data = bytes(self._begun)
            self._begun.clear()
        messages: list[Message] = []
        at, end, self._wanted = 0, len(data), _LENGTH.size
        while end - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data, at)
            if length > self._max_bytes:
                raise WireError(f"a frame of {length} bytes; at most {self._max_bytes} are taken")
            begin = at + _LENGTH.size
            if begin + length > end:
                self._wanted = _LENGTH.size + length
                break
            at = begin + length
            messages.append(self._message(data[begin:at]))
        if at < end:
            self._begun += data[at:]
        return messages

    def close(self) -> None:
        """Close the descriptors that no message has claimed."""
        while self._fds:
            os.close(self._fds.popleft())

    def _message(self, frame: bytes) -> Message:
        body = _parse(frame)
        count = body.pop("fds", 0)
        if not isinstance(count, int) or not 0 <= count <= len(self._fds):
            raise WireError(f"a message names {count!r} descriptors, {len(self._fds)} came")
        return Message(body, [self._fds.popleft() for _ in range(count)] if count else [])


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
        self._readable: select.poll | None = None
        #: True once the other side is gone. What was received before is still given out.
        self.eof = False

    def fileno(self) -> int:
        """The socket's descriptor, for a selector."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the socket and every descriptor that came in but was given to nobody."""
        self._decoder.close()
        # Its descriptor's number may soon be another one's.
        self._readable = None
        self._sock.close()

    def send(self, body: dict[str, Any], fds: Sequence[int] = (), timeout_s: float | None = None) -> None:
        """Send one message; the descriptors stay the caller's too. Raises OSError, TimeoutError, WireError.

        `timeout_s` bounds each wait for room (None: no bound). After an error the channel is of no more use.
        """
        frame = encode(body, len(fds), self._max_bytes)
        sent = 0
        if not fds:
            # Mostly there is room for all of it.
            with suppress(BlockingIOError):
                sent = self._sock.send(frame, _NO_SIGNAL)
        rest = memoryview(frame)[sent:]
        while rest:
            try:
                sent = self._sendmsg(rest, fds)
            except BlockingIOError:
                if not _poll(self._sock, select.POLLOUT).poll(None if timeout_s is None else timeout_s * 1000):
                    raise TimeoutError(f"the other side took nothing for {timeout_s} s") from None
                continue
            rest, fds = rest[sent:], ()

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
            if not self.wait(timeout_s):
                raise TimeoutError(f"the other side did nothing for {timeout_s} s")
            yield from self.read()

    def wait(self, timeout_s: float | None) -> bool:
        """Whether something can be read by then (None: wait for ever)."""
        if self._readable is None:
            self._readable = _poll(self._sock, select.POLLIN)
        return bool(self._readable.poll(None if timeout_s is None else timeout_s * 1000))

    def _sendmsg(self, data: memoryview, fds: Sequence[int]) -> int:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        return self._sock.sendmsg([data], rights, _NO_SIGNAL)

    def _recvmsg(self) -> tuple[bytes, list[int]]:
        data, rights, flags, _ = self._sock.recvmsg(_CHUNK, _ROOM, _CLOSED_AT_EXEC)
        if not rights and not flags & _TRUNCATED:
            return data, []
        fds = array.array("i")
        for level, kind, payload in rights:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
        if flags & _TRUNCATED:
            for descriptor in fds:
                os.close(descriptor)
            raise WireError("descriptors were lost on the way: too many files are open")
        return data, list(fds)


def _parse(frame: bytes) -> dict[str, Any]:
    try:
        text = frame.decode("utf-8")
        # Without the white space around it, for which `json.loads` looks.
        body, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise WireError(f"a frame that is no JSON: {error}") from error
    if end != len(text) or not isinstance(body, dict):
        raise WireError("a frame that is no JSON object")
    return body


def _poll(sock: socket.socket, event: int) -> select.poll:
    poll = select.poll()
    poll.register(sock, event)
    return poll
