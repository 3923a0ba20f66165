"""A sink on loopback: an HTTP server that records what is posted to it, refuses it, or never answers."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Mood = Literal["takes", "refuses", "hangs"]


class RecordingSink:
    """Every body that was posted, by path. `mood` may change while it runs."""

    def __init__(self, mood: Mood) -> None:
        self.mood: Mood = mood
        self.posted: list[tuple[str, bytes]] = []
        self.over = threading.Event()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                sink.posted.append((self.path, body))
                if sink.mood == "hangs":
                    sink.over.wait(60)
                self.send_response(500 if sink.mood == "refuses" else 200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port

    @property
    def dsn(self) -> str:
        """As one of Sentry's; its key is a secret that must stand nowhere."""
        return f"http://sentrysecret@127.0.0.1:{self.port}/42"

    @property
    def url(self) -> str:
        """For apprise: JSON posted to /page, with a password that must stand nowhere."""
        return f"json://user:pagesecret@127.0.0.1:{self.port}/page"

    def events(self) -> list[dict[str, Any]]:
        """The events of the envelopes that came."""
        found = []
        for path, body in self.posted:
            if path.endswith("/envelope/"):
                lines = body.split(b"\n")
                found += [json.loads(lines[n + 1]) for n in range(1, len(lines) - 1, 2) if b'"event"' in lines[n]]
        return found

    def pages(self) -> list[dict[str, Any]]:
        """What apprise posted."""
        return [json.loads(body) for path, body in self.posted if path == "/page"]

    def serve(self) -> None:
        self._server.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def recording(mood: Mood = "takes") -> Iterator[RecordingSink]:
    """A sink that serves until the block ends."""
    sink = RecordingSink(mood)
    thread = threading.Thread(target=sink.serve, daemon=True)
    thread.start()
    try:
        yield sink
    finally:
        sink.close()
        thread.join(5)
