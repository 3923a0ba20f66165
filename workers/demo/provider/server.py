"""The provider's server: a thread for each call, so many and no more, on 127.0.0.1."""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from itertools import islice
from socketserver import ThreadingTCPServer
from typing import Any, Final

from proofq.workers.demo.provider import answer
from proofq.workers.demo.provider.answer import Answer, Asked
from proofq.workers.demo.provider.apis import APIS, Api, Event
from proofq.workers.demo.provider.behaviour import NoBehaviour, Refusal, parse

#: Calls served at once; more are closed unheard, as a provider under load does.
MAX_CALLS: Final = 64
#: Longest request that is read, in bytes, and how long its client may take to send it.
MAX_BYTES: Final = 16 * 1024 * 1024
READ_S: Final = 20.0
#: Longest silence and longest drip.
FOREVER_S: Final = 600.0
DRIP_S: Final = 0.3

_LOGIN: Final = "<!doctype html><title>Sign in</title><h1>Sign in to continue</h1><form><input name=user></form>"
_UNKNOWN: Final = Refusal(404, "not_found", "not_found_error", "There is nothing here.")
_BROKEN: Final = Refusal(400, "invalid_request", "invalid_request_error", "This is no request of this API.")


class Provider:
    """A provider of this process. Use as a context manager; `port` 0 takes a free one. Raises OSError."""

    def __init__(self, port: int = 0) -> None:
        self._server = _Server(("127.0.0.1", port), _Call)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="provider", daemon=True)

    def __enter__(self) -> Provider:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.closing.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it listens: `http://127.0.0.1:PORT`; the APIs are below `/v1` or `/BEHAVIOUR/v1`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def calls(self) -> dict[str, int]:
        """How many calls of an API each behaviour has had, by its full name; GET /_calls says the same."""
        return self._server.counted()


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = MAX_CALLS

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.closing = threading.Event()
        self._room = threading.BoundedSemaphore(MAX_CALLS)
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()

    def count(self, name: str) -> int:
        """The number of this call among those of the behaviour."""
        with self._lock:
            self._calls[name] += 1
            return self._calls[name]

    def counted(self) -> dict[str, int]:
        with self._lock:
            return dict(self._calls)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nobody's error."""


class _Call(BaseHTTPRequestHandler):
    """One connection, one call."""

    protocol_version = "HTTP/1.1"
    timeout = READ_S
    server: _Server

    def do_HEAD(self) -> None:
        self._headers(200, "text/plain")

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/_calls":
            self._document(200, self.server.counted())
        elif path.endswith("/v1/models"):
            model = {"id": "good", "object": "model", "type": "model", "created": 0, "owned_by": "proofq"}
            self._document(200, {"object": "list", "data": [model]})
        else:
            self._document(404, APIS["/chat/completions"].refused(_UNKNOWN))

    def do_POST(self) -> None:
        path = self.path.partition("?")[0]
        if path.endswith("/messages/count_tokens"):
            self._document(200, {"input_tokens": 20})
            return
        before, _, rest = path.partition("/v1")
        api = APIS.get(rest)
        if api is None:
            self._document(404, APIS["/chat/completions"].refused(_UNKNOWN))
            return
        try:
            asked = api.asked(json.loads(self._body()))
            name = before.strip("/") or asked.model
            step = parse(name).step(self.server.count(name))
        except (NoBehaviour, ValueError, KeyError, TypeError, AttributeError) as problem:
            told = Refusal(400, _BROKEN.code, _BROKEN.kind, f"{_BROKEN.message} {problem}")
            self._document(400, api.refused(told))
            return
        if step.refusal is not None:
            self._refuse(api, step.refusal)
        else:
            getattr(self, f"_{step.way}")(api, asked)

    # --- the ways to answer ----------------------------------------------------------------------------------------

    def _good(self, api: Api, asked: Asked) -> None:
        self._answer(api, asked, answer.honest(asked))

    def _lie(self, api: Api, asked: Asked) -> None:
        self._answer(api, asked, answer.done(asked))

    def _cut(self, api: Api, asked: Asked) -> None:
        """Ends in the middle of a sentence, in good order: to HTTP it looks whole."""
        self._half(api, asked)

    def _stall(self, api: Api, asked: Asked) -> None:
        self._half(api, asked)
        self._silence(FOREVER_S)

    def _reset(self, api: Api, asked: Asked) -> None:
        self._half(api, asked)
        self._silence(DRIP_S)  # a reset takes back what the client has not read yet
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Closed behind the server's back: its orderly shutdown would send an end before the reset.
        os.close(self.connection.detach())

    def _hang(self, _api: Api, _asked: Asked) -> None:
        self._silence(FOREVER_S)

    def _drip(self, api: Api, asked: Asked) -> None:
        self._headers(200, "text/event-stream" if asked.stream else "application/json")
        events = list(islice(api.events(Answer("well, well, well"), asked.model), 4))
        for number in range(round(FOREVER_S / DRIP_S)):
            if asked.stream:
                self._send(events[min(number, 3)])
            else:
                self.wfile.write(b" ")
            if self._silence(DRIP_S):
                return

    def _html(self, _api: Api, _asked: Asked) -> None:
        self._headers(200, "text/html")
        self.wfile.write(_LOGIN.encode())

    def _refuse(self, api: Api, refusal: Refusal) -> None:
        wait = refusal.retry_after_s
        self._document(refusal.status, api.refused(refusal), {} if wait is None else {"Retry-After": str(wait)})

    # --- the means -------------------------------------------------------------------------------------------------

    def _answer(self, api: Api, asked: Asked, said: Answer) -> None:
        if not asked.stream:
            self._document(200, api.whole(said, asked.model))
            return
        self._headers(200, "text/event-stream")
        for event in api.events(said, asked.model):
            self._send(event)

    def _half(self, api: Api, asked: Asked) -> None:
        said = Answer("I have looked at everything and will now write")
        if not asked.stream:
            whole = json.dumps(api.whole(said, asked.model)).encode()
            self._headers(200, "application/json")
            self.wfile.write(whole[: len(whole) // 2])
            return
        self._headers(200, "text/event-stream")
        for event in islice(api.events(said, asked.model), 8):
            self._send(event)

    def _silence(self, seconds: float) -> bool:
        """Say nothing for so long; True when the client has gone, or the provider closes."""
        for _ in range(max(1, round(seconds / DRIP_S))):
            if self.server.closing.is_set():
                return True
            readable, _, _ = select.select([self.connection], [], [], DRIP_S)
            if readable:
                with suppress(OSError):
                    self.connection.recv(4096, socket.MSG_DONTWAIT)
                return True
        return False

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(self._chunks())
        length = int(self.headers.get("Content-Length", 0))
        if length > MAX_BYTES:
            raise ValueError("It is too long.")
        return self.rfile.read(length)

    def _chunks(self) -> Iterator[bytes]:
        left = MAX_BYTES
        while length := int(self.rfile.readline(64).split(b";")[0], 16):
            if (left := left - length) < 0:
                raise ValueError("It is too long.")
            yield self.rfile.read(length)
            self.rfile.readline(64)
        self.rfile.readline(64)

    def _document(self, status: int, document: Any, more: Mapping[str, str] | None = None) -> None:
        body = json.dumps(document).encode()
        self._headers(status, "application/json", {"Content-Length": str(len(body)), **(more or {})})
        self.wfile.write(body)

    def _send(self, event: Event) -> None:
        name, data = event
        text = data if isinstance(data, str) else json.dumps(data)
        self.wfile.write((f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode())

    def _headers(self, status: int, kind: str, more: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Connection": "close", **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the inherited name
        """Say nothing: stdout and stderr are those of the demo."""
