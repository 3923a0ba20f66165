"""A provider on loopback whose mood a test changes while tasks run; it counts what reaches it, and when."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

#: Seconds that an answer takes.
WORK_S = 0.05


class Moody:
    """Answers 200 after 50 ms, unless told otherwise. `refuse` is asked for each request, with its key and its number
    (1 is the first), for a status and headers instead; None: it is answered. Use as a context manager."""

    def __init__(self) -> None:
        self.refuse: Callable[[str, int], tuple[int, dict[str, str]] | None] = lambda _key, _number: None
        self.work_s = WORK_S
        #: What stands in an answer of status 200.
        self.body = b""
        #: Requests that came and have not been answered yet.
        self.waiting = 0
        self._lock = threading.Lock()
        self._seen: list[tuple[float, int]] = []
        self._server = _Server(("127.0.0.1", 0), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def status(self, status: int, **headers: str) -> None:
        """Answer everything so from now on; 200 works."""
        said = (status, {name.replace("_", "-"): value for name, value in headers.items()})
        self.refuse = lambda _key, _number: None if status == 200 else said

    def requests(self, since_s: float = 0.0) -> list[tuple[float, int]]:
        """When each request came, by the monotonic clock, and the status it got; since a moment."""
        with self._lock:
            return sorted(one for one in self._seen if one[0] >= since_s)

    def answer(self, key: str) -> tuple[int, dict[str, str]]:
        """What a request gets."""
        with self._lock:
            self.waiting += 1
            number, came_s = len(self._seen) + 1, time.monotonic()
        status, headers = self.refuse(key, number) or (200, {})
        with self._lock:
            self.waiting -= 1
            self._seen.append((came_s, status))
        if status == 200:
            time.sleep(self.work_s)
        return status, headers

    def __enter__(self) -> Moody:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], moody: Moody) -> None:
        super().__init__(address, _Handler)
        self.moody = moody


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        with contextlib.suppress(OSError):
            status, headers = self.server.moody.answer(self.headers.get("Authorization", ""))
            body = self.server.moody.body if status == 200 else b""
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *said: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def moody() -> Iterator[Moody]:
    """A running one."""
    with Moody() as provider:
        yield provider
