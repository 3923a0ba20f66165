"""A server on loopback that fails as the path says: /dialect/situation/whatever the client appends."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from tests.sdks import bodies
from tests.sdks.bodies import Answer

#: For how long at most it holds a connection on which it says nothing more; clients give up long before.
HOLD_S = 2.5
#: Pause between the bytes of a body that never ends.
DRIP_S = 0.05


class _Handler(socketserver.StreamRequestHandler):
    """One request a connection."""

    server: _Listener

    def handle(self) -> None:
        try:
            path = self._request()
            if path is not None:
                self._answer(*_faults(path))
        except OSError:
            return  # the client has gone, as it should

    def _request(self) -> str | None:
        """The path, once head and body are read."""
        if self.rfile.peek(1)[:1] == b"\x16":  # type: ignore[attr-defined]
            # TLS where there is none: what it gets is an answer, as from any plain server.
            self._head(400, {"Content-Length": "0"})
            return None
        line = self.rfile.readline(65536).decode("latin-1").split(" ")
        length = 0
        while (header := self.rfile.readline(65536).strip()) != b"":
            name, _, value = header.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            if name.lower() == b"transfer-encoding" and value.strip().lower() == b"chunked":
                while (size := int(self.rfile.readline(65536).split(b";")[0], 16)) > 0:
                    self.rfile.read(size + 2)
        self.rfile.read(length)
        return line[1] if len(line) > 1 else None

    def _answer(self, dialect: str, situation: str) -> None:
        match situation:
            case "drop":
                return
            case "reset":
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            case "hang":
                self.server.over.wait(HOLD_S)
            case "nonsense":
                self.wfile.write(b"\x16\x03 this is no HTTP\r\n\r\n")
            case "loop":
                self._head(302, {"Location": self.server.url(dialect, situation), "Content-Length": "0"})
            case "cut":
                self._head(200, {"Content-Type": "application/json", "Content-Length": "1000"})
                self.wfile.write(b'{"half":')
            case "hang_body":
                self._head(200, {"Content-Type": "application/json", "Content-Length": "1000"})
                self.wfile.write(b'{"half":')
                self.server.over.wait(HOLD_S)
            case "gzip":
                self._whole(Answer(200, b"this is not gzip", {"Content-Encoding": "gzip"}))
            case "chunk":
                self._head(200, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"})
                self.wfile.write(b"zz\r\nno size\r\n")
            case "endless":
                self._head(503, {"Content-Type": "application/json", "Retry-After": "7"})
                self._drip()
            case _ if situation.startswith("stream_"):
                self._stream(dialect, situation)
            case _:
                self._whole(bodies.answer(dialect, situation))

    def _stream(self, dialect: str, situation: str) -> None:
        """Begins well, with a status of 200."""
        kind, begun, broken = bodies.stream(dialect)
        self._head(200, {"Content-Type": kind, "Transfer-Encoding": "chunked"})
        self._chunk(begun)
        match situation:
            case "stream_stall":
                self.server.over.wait(HOLD_S)
            case "stream_error":
                self._chunk(broken)
                self.wfile.write(b"0\r\n\r\n")
            case "stream_garbage":
                self._chunk(begun.replace(b'{"', b'{{"').replace(b"\x00", b"\x7f"))
                self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _drip(self) -> None:
        until = time.monotonic() + HOLD_S
        while time.monotonic() < until and not self.server.over.wait(DRIP_S):
            self.wfile.write(b" ")

    def _whole(self, said: Answer) -> None:
        self._head(said.status, {**said.headers, "Content-Length": str(len(said.body))})
        self.wfile.write(said.body)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} Said", "Connection: close", *(f"{name}: {one}" for name, one in headers.items())]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        self.wfile.flush()


def _faults(path: str) -> tuple[str, str]:
    parts = [one for one in path.split("?")[0].split("/") if one]
    return parts[0], parts[1]


class _Listener(socketserver.ThreadingTCPServer):
    """Silent about clients that went away."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64
    over: threading.Event

    def url(self, dialect: str, situation: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{dialect}/{situation}"

    def handle_error(self, *args: Any) -> None:
        """Silence."""


class FaultServer:
    """The server, from entering to leaving."""

    def __enter__(self) -> Self:
        self._listener = _Listener(("127.0.0.1", 0), _Handler)
        self._listener.over = threading.Event()
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.over.set()
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    def url(self, dialect: str, situation: str) -> str:
        """Where this situation is met; some need no server at all."""
        if situation == "no_such_host":
            return "http://no-such-host.invalid/x"
        url = self._listener.url(dialect, situation)
        if situation == "tls":
            return url.replace("http:", "https:")
        return f"http://127.0.0.1:{closed_port()}/x" if situation == "refused" else url


class Scripted:
    """A TCP server that answers each line or message as `talk(connection)` says: for stores with protocols of their
    own."""

    def __init__(self, talk: Any) -> None:
        self._talk = talk

    def __enter__(self) -> int:
        self._socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()
        port: int = self._socket.getsockname()[1]
        return port

    def __exit__(self, *args: object) -> None:
        self._socket.close()

    def _serve(self) -> None:
        for connection in self._accepted():
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _accepted(self) -> Iterator[socket.socket]:
        while True:
            try:
                yield self._socket.accept()[0]
            except OSError:
                return

    def _one(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._talk(connection)
            except OSError:
                return


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port
