"""Whatever is classified, it is over soon: huge texts, deep and looping chains, and looks that would block for ever."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from collections.abc import Callable
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofq.policies import error_chain, looking, rpc_details
from proofq.policies.classes import CLASSES
from proofq.policies.classify import MAX_REASON, classify
from tests.unit.fakes import answer, error, grpc, openai, raised

#: CPU seconds that one call may take at the very worst; it takes about a millisecond for a usual error.
WORST_S = 3.0
MEGABYTES = 10_000_000


def blocks(*_: Any) -> Any:
    """Never comes back."""
    threading.Event().wait()


def _nested(depth: int) -> dict[str, Any]:
    body: dict[str, Any] = {}
    inner = body
    for _ in range(depth):
        inner["error"] = {"message": "x", "code": "y"}
        inner = inner["error"]
    return body


HUGE: dict[str, Callable[[], Any]] = {
    "text": lambda: ValueError("429 'quoted' " * (MEGABYTES // 13)),
    "a provider's text": lambda: error("APIError", 'rate "limit" ' * (MEGABYTES // 13), "openai"),
    "a body": lambda: openai(400, "“quoted " * (MEGABYTES // 8)),
    "a body on the wire": lambda: error("E", "", "httpx", response=answer(400, b'{"' * (MEGABYTES // 2))),
    "a deep body": lambda: error("E", "x", "openai", body=_nested(100_000)),
    "a wide body": lambda: error("E", "x", "openai", body={str(n): {"message": "limit " * 99} for n in range(50_000)}),
    "headers": lambda: error("E", "x", "httpx", headers={"a" * 99 + str(number): "b" for number in range(99_999)}),
    "a chain": lambda: _chain(20_000),
    "a group": lambda: ExceptionGroup("x", [openai(503) for _ in range(10_000)]),
    "groups in groups": lambda: _groups(300),
    "output": lambda: subprocess.CompletedProcess(["x"], 1, "error: \n" * (MEGABYTES // 8), b"\xff" * MEGABYTES),
    "a line": lambda: subprocess.CompletedProcess(["x"], 1, "", "retry after 1 day " * (MEGABYTES // 18)),
    "tracebacks": lambda: subprocess.CompletedProcess(["x"], 1, "", "Traceback (most recent call last):\n" * 200_000),
    "metadata": lambda: grpc_with(b"\x1a\xff\xff\x03" * 1_000_000),
}  # fmt: skip


def _chain(length: int) -> BaseException:
    last: BaseException = openai(429)
    for number in range(length):
        last = raised(RuntimeError(f"step {number}"), last, during=number % 2 == 0)
    return last


def _groups(depth: int) -> BaseException:
    last: Exception = openai(429)
    for _ in range(depth):
        last = ExceptionGroup("x", [ValueError("y"), last])
    return last


def grpc_with(trailer: bytes) -> Any:
    """gRPC's error with details in binary."""
    made = grpc("RESOURCE_EXHAUSTED", "slow")
    made.trailing_metadata = lambda: (("grpc-status-details-bin", trailer),)
    return made


@pytest.mark.parametrize("name", HUGE)
def test_huge_things_are_cut(name: str) -> None:
    """Ten megabytes of anything, or twenty thousand of them, in seconds at most; and the reason stays short."""
    met = HUGE[name]()
    began = time.process_time()
    found = classify(met, "run", 1e9)
    assert time.process_time() - began < WORST_S
    assert found.kind in CLASSES
    assert len(found.reason) <= MAX_REASON


@pytest.mark.timeout(60)
@pytest.mark.parametrize("where", ["error", "response"])
@pytest.mark.parametrize("how", ["property", "cached", "getattr"])
def test_what_would_block_is_not_asked(where: str, how: str) -> None:
    """A property that waits for ever, on the error or on its answer, of whoever nobody knows."""
    names = [
        "response",
        "body",
        "headers",
        "details",
        "status_code",
        "code",
        "text",
        "content",
        "reason",
        "exceptions",
        "last_attempt",
        "retry_after",
        "errno",
        "message",
        "type",
        "error",
        "raw_response",
        "original_exception",
    ]
    members: dict[str, Any] = {
        "property": dict.fromkeys(names, property(blocks)),
        "cached": {name: _cached(name) for name in names},
        "getattr": {"__getattr__": blocks},
    }[how]
    base: Any = Exception if where == "error" else object
    trap = type("Trap", (base,), members)()
    met = trap if where == "error" else error("RateLimitError", "slow", "somewhere", status_code=429, response=trap)
    found = classify(met, now=1e9)
    assert found.kind == ("unknown" if where == "error" else "rate_limited")


def _cached(name: str) -> Any:
    made = cached_property(blocks)
    made.__set_name__(object, name)
    return made


def test_what_only_hands_out_is_asked() -> None:
    """A property that calls nothing is as good as what it hands out; and a cached one that was asked before."""

    class Sdk(Exception):
        status_code = property(lambda self: self._status)
        _status = 429

        @cached_property
        def response(self) -> Any:
            return SimpleNamespace(headers={"Retry-After": str(int("9"))})

    met = Sdk()
    assert (classify(met).kind, classify(met).retry_after) == ("rate_limited", None)
    assert met.response.headers
    assert classify(met).retry_after == 9


@pytest.mark.timeout(60)
def test_a_call_of_grpc_that_goes_on_is_not_waited_for() -> None:
    """Its streams are errors from the beginning, and may be in the arguments of another error."""
    for code in (lambda: blocks(), blocks):
        call = error(
            "_MultiThreadedRendezvous", "", "grpc", code=code, details=code, trailing_metadata=code, done=lambda: False
        )
        assert classify(RuntimeError("gave up", call)).kind in ("crash", "unknown")
        assert classify(call).kind == "unknown"


@pytest.mark.timeout(60)
def test_a_body_that_never_ends_is_not_read() -> None:
    """Neither by its methods nor by going over it."""

    class Endless:
        status_code, headers = 503, {"retry-after": "7"}
        read = json = iter_bytes = iter_content = __iter__ = __len__ = __bool__ = blocks
        text = content = property(blocks)

    found = classify(error("HTTPStatusError", "x", "httpx", response=Endless()))
    assert (found.kind, found.retry_after) == ("overloaded", 7)


#: Errors as nodes of any graph: what each is, and to which others it leads by which way.
NODES = st.lists(
    st.tuples(
        st.sampled_from(["bug", "429", "503", "cancelled", "odd", "group"]),
        st.lists(
            st.tuples(
                st.sampled_from(["__cause__", "__context__", "reason", "original_exception", "last_attempt", "args"]),
                st.integers(0, 11),
            ),
            max_size=3,
        ),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=300)
@given(NODES, st.booleans())
def test_any_graph_of_errors(nodes: list[tuple[str, list[tuple[str, int]]]], suppressed: bool) -> None:
    """Cycles, diamonds and lone ones: a class, the same each time, and no error looked at twice."""
    made = [_node(kind) for kind, _ in nodes]
    for met, (_, ways) in zip(made, nodes, strict=True):
        for way, to in ways:
            target = made[to % len(made)]
            setattr(met, way, (target,) if way == "args" else target)
        if suppressed:
            met.__suppress_context__ = True
    walked = error_chain.walk(made[0])
    assert len(walked) == len({id(one) for one in walked}) <= error_chain.MAX_ERRORS
    first, again = classify(made[0], now=1e9), classify(made[0], now=1e9)
    assert first == again
    assert first.kind in CLASSES
    reachable = {type(one).__name__ for one in walked}
    if first.kind == "rate_limited":
        assert "APIStatusError" in reachable


def _node(kind: str) -> Any:
    match kind:
        case "bug":
            return KeyError("x")
        case "429" | "503":
            return openai(int(kind), retry_after="3")
        case "cancelled":
            return asyncio.CancelledError()
        case "group":
            return ExceptionGroup("x", [ValueError("y"), openai(401)])
    return error("Odd", "429")


@given(st.binary(max_size=300))
def test_any_metadata_is_read_or_left(trailer: bytes) -> None:
    """What is no message of protobuf's says nothing."""
    found = rpc_details.read(trailer)
    assert found.retry_after_s is None or 0 <= found.retry_after_s < 1e12
    assert classify(grpc_with(trailer)).kind in CLASSES


def test_metadata_says_how_long() -> None:
    """A RetryInfo of 34.5 s, and a reason, among details nobody knows."""
    delay = b"\x08\x22\x10\x80\xca\xb5\xee\x01"
    info = b"\x0a\x28type.googleapis.com/google.rpc.RetryInfo\x12\x0a\x0a\x08" + delay
    reason = b"\x0a\x28type.googleapis.com/google.rpc.ErrorInfo\x12\x11\x0a\x0fAPI_KEY_INVALID"
    details = b"".join(b"\x1a" + bytes([len(one)]) + one for one in (info, b"\x0a\x03odd", reason))
    assert rpc_details.read(b"\x08\x08\x12\x04slow" + details) == rpc_details.RpcDetails(34.5, ("API_KEY_INVALID",))
    assert looking.pairs({"a": ["b", "c"], "d": 3}) == [("a", "b"), ("d", 3)]
