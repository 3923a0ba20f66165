"""Real client libraries against a server on loopback that fails in every way: class and wait of what they raise."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import requests
import urllib3

from proofq.policies.classify import classify

pytestmark = pytest.mark.xdist_group("real_libraries")

#: Of the clients; what hangs, hangs for longer.
TIMEOUT_S = 1.0
HTML = b"<html><body>Please log in</body></html>"


def _openai(message: str, type_: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": type_, "param": None, "code": code}}


def _anthropic(type_: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": type_, "message": message}}


#: By name: status, body, headers.
ANSWERS: dict[str, tuple[int, Any, dict[str, str]]] = {
    "key": (401, _openai("Incorrect API key provided", "invalid_request_error", "invalid_api_key"), {}),
    "refusal": (403, _openai("Your input was flagged by moderation", "moderation_error", "moderation_blocked"), {}),
    "limit_after": (429, _openai("Rate limit", "tokens", "rate_limit_exceeded"), {"Retry-After": "120"}),
    "limit": (429, _openai("Rate limit", "tokens", "rate_limit_exceeded"), {}),
    "limit_until": (
        429, _anthropic("rate_limit_error", "slow down"),
        {"Retry-After": "Fri, 21 Nov 2025 10:01:30 GMT", "Date": "Fri, 21 Nov 2025 10:00:00 GMT"},
    ),
    "limit_said": (429, _openai("Please try again in 7.66s.", "tokens", "rate_limit_exceeded"), {}),
    "quota": (429, _openai("You exceeded your current quota", "insufficient_quota", "insufficient_quota"), {}),
    "credit": (400, _anthropic("invalid_request_error", "Your credit balance is too low to access"), {}),
    "busy": (503, {"x": 1}, {"Retry-After": "7"}),
    "overloaded": (529, _anthropic("overloaded_error", "Overloaded"), {}),
    "context": (400, _openai("maximum context length", "invalid_request_error", "context_length_exceeded"), {}),
    "page": (200, HTML, {}),
}  # fmt: skip
#: Those whose client keeps the answer's body: what the body says besides the status is seen.
WHOLE = {"openai", "anthropic", "httpx", "requests"}
#: fault -> (class, wait, class where the body is lost).
EXPECTED: dict[str, tuple[str, float | None, str]] = {
    "key": ("auth", None, "auth"),
    "refusal": ("content_refused", None, "auth"),
    "limit_after": ("rate_limited", 120, "rate_limited"),
    "limit": ("rate_limited", None, "rate_limited"),
    "limit_until": ("rate_limited", 90, "rate_limited"),
    "limit_said": ("rate_limited", 7.66, "rate_limited"),
    "quota": ("quota", None, "rate_limited"),
    "credit": ("quota", None, "bad_input"),
    "busy": ("overloaded", 7, "overloaded"),
    "overloaded": ("overloaded", None, "overloaded"),
    "context": ("context_overflow", None, "bad_input"),
    "page": ("malformed_output", None, "malformed_output"),
    "cut": ("network", None, "network"),
    "drop": ("network", None, "network"),
    "hang": ("timeout", None, "timeout"),
    "refused": ("network", None, "network"),
    "no_such_host": ("network", None, "network"),
    "tls": ("network", None, "network"),
}


class _Handler(BaseHTTPRequestHandler):
    """Fails as the first part of the path says."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        fault = self.path.split("/")[1]
        self.close_connection = True
        if fault == "hang":
            self.server.released.wait(20.0)  # type: ignore[attr-defined]
        elif fault == "cut":
            self._head(200, {"Content-Type": "application/json", "Content-Length": "1000"})
            self.wfile.write(b'{"half":')
        elif fault in ANSWERS:
            status, body, headers = ANSWERS[fault]
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            kind = "text/html" if isinstance(body, bytes) else "application/json"
            self._head(status, {"Content-Type": kind, "Content-Length": str(len(data)), **headers})
            self.wfile.write(data)

    do_GET = do_POST  # noqa: N815 - the name that http.server asks for

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in {**headers, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Silence."""


class _Server(ThreadingHTTPServer):
    """Also silent about clients that went away."""

    daemon_threads = True
    released: threading.Event

    def handle_error(self, *args: Any) -> None:
        """Silence."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Its URL."""
    made = _Server(("127.0.0.1", 0), _Handler)
    made.released = threading.Event()
    thread = threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.released.set()
    made.shutdown()
    made.server_close()
    thread.join()


def _url(server: str, fault: str) -> str:
    if fault == "no_such_host":
        return "http://no-such-host.invalid"
    if fault == "tls":
        return server.replace("http:", "https:")
    if fault == "refused":
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            return f"http://127.0.0.1:{unused.getsockname()[1]}"
    return f"{server}/{fault}"


# Seconds of CPU each: not for every process that only collects what stands here.
def _ask_openai(url: str) -> Any:
    import openai

    with openai.OpenAI(api_key="dummy", base_url=url, max_retries=0, timeout=TIMEOUT_S) as client:
        said = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
        return _checked(said)


def _ask_anthropic(url: str) -> Any:
    import anthropic

    with anthropic.Anthropic(api_key="dummy", base_url=url, max_retries=0, timeout=TIMEOUT_S) as client:
        said = client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "x"}])
        return _checked(said)


def _checked(said: Any) -> Any:
    """Both hand a login page on as text: who receives it must look, since no error is raised."""
    return json.loads(said) if isinstance(said, str) else said


def _ask_httpx(url: str) -> Any:
    return httpx.get(url, timeout=TIMEOUT_S).raise_for_status().json()


def _ask_httpx_stream(url: str) -> Any:
    with httpx.stream("GET", url, timeout=TIMEOUT_S) as answer:
        answer.raise_for_status()
        return json.loads(b"".join(answer.iter_bytes()))


def _ask_requests(url: str) -> Any:
    answer = requests.get(url, timeout=TIMEOUT_S)
    answer.raise_for_status()
    return answer.json()


def _ask_requests_stream(url: str) -> Any:
    with requests.get(url, timeout=TIMEOUT_S, stream=True) as answer:
        answer.raise_for_status()
        return json.loads(b"".join(answer.iter_content(16)))


def _ask_urllib(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
        return json.load(answer)


def _ask_aiohttp(url: str) -> Any:
    import aiohttp

    async def ask() -> Any:
        timeout = aiohttp.ClientTimeout(sock_read=TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session,
            session.get(url) as answer,
        ):
            return await answer.json()

    return asyncio.run(ask())


CLIENTS: dict[str, Callable[[str], Any]] = {
    "openai": _ask_openai,
    "anthropic": _ask_anthropic,
    "httpx": _ask_httpx,
    "httpx stream": _ask_httpx_stream,
    "requests": _ask_requests,
    "requests stream": _ask_requests_stream,
    "urllib": _ask_urllib,
    "aiohttp": _ask_aiohttp,
}


def _raised(ask: Callable[[str], Any], url: str) -> Exception:
    try:
        ask(url)
    except Exception as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fault", EXPECTED)
@pytest.mark.parametrize("client", CLIENTS)
def test_each_fault_in_each_library(server: str, client: str, fault: str) -> None:
    """The class that the fault stands for, and the wait that was said, as far as the library kept the body."""
    found = classify(_raised(CLIENTS[client], _url(server, fault)))
    kind, wait, without_body = EXPECTED[fault]
    assert found.kind == (kind if client in WHOLE else without_body), found.reason
    heard = wait is not None and (client in WHOLE or fault != "limit_said")
    assert found.retry_after == (pytest.approx(wait) if heard else None)
    assert found.fingerprint


@pytest.mark.filterwarnings("ignore")
def test_retries_of_urllib3_leave_only_a_sentence(server: str) -> None:
    """Status and headers are lost in "too many 429 error responses"; the class is not."""
    retry = urllib3.Retry(1, status_forcelist=[429, 503], respect_retry_after_header=False, backoff_factor=0)
    with requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retry))
        for fault, kind in (("limit", "rate_limited"), ("busy", "overloaded")):
            error = _raised(lambda url: session.get(url, timeout=TIMEOUT_S), f"{server}/{fault}")
            assert classify(error).kind == kind


def test_a_wrapped_error_of_a_library_in_a_group(server: str) -> None:
    """As mcp and asyncio's task groups hand them on."""

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(_ask_openai, f"{server}/busy"))
            group.create_task(asyncio.to_thread(_ask_openai, f"{server}/key"))

    error = _raised(lambda _: asyncio.run(main()), "")
    assert classify(error).kind in ("auth", "overloaded")
    assert isinstance(error, ExceptionGroup)
    if len(error.exceptions) == 2:
        assert classify(error).kind == "auth"
