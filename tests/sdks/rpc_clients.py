"""gRPC, whole and asynchronous: statuses, trailing metadata, RetryInfo, and connections that are none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent import futures
from functools import partial
from typing import Any

from tests.sdks.server import Scripted, closed_port

#: situation -> code, text, trailing metadata, seconds of RetryInfo.
ANSWERS: dict[str, tuple[str, str, tuple[tuple[str, str | bytes], ...], float | None]] = {
    "key": ("UNAUTHENTICATED", "API key not valid", (), None),
    "forbidden": ("PERMISSION_DENIED", "no access to this model", (), None),
    "limit": ("RESOURCE_EXHAUSTED", "too many requests", (), None),
    "limit metadata": ("RESOURCE_EXHAUSTED", "too many requests", (("retry-after", "120"),), None),
    "limit pushback": ("RESOURCE_EXHAUSTED", "slow down", (("grpc-retry-pushback-ms", "1500"),), None),
    "limit RetryInfo": ("RESOURCE_EXHAUSTED", "Quota exceeded for requests per minute", (), 34.5),
    "per day": ("RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Requests per day'", (), None),
    "busy": ("UNAVAILABLE", "try again later", (), None),
    "busy RetryInfo": ("UNAVAILABLE", "overloaded", (), 7.0),
    "broken": ("INTERNAL", "oops", (), None),
    "late": ("DEADLINE_EXCEEDED", "took too long", (), None),
    "bad": ("INVALID_ARGUMENT", "no such field", (), None),
    "quotes": ("INVALID_ARGUMENT", 'unsupported text "429 Too Many Requests, invalid api key"', (), None),
    "missing": ("NOT_FOUND", "no such model", (), None),
    "unimplemented": ("UNIMPLEMENTED", "no such method", (), None),
    "aborted": ("ABORTED", "conflict", (), None),
    "unknown": ("UNKNOWN", "Exception calling application: 'x'", (), None),
    "lost": ("DATA_LOSS", "unrecoverable", (), None),
}
SILENT = ("refused", "no_such_host", "hang", "no grpc", "too large")


def situations() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Each with what provokes it."""
    with _server() as target:
        for name in (*ANSWERS, "hang", "too large"):
            yield f"grpc {name}", partial(_call, target, name)
            yield f"grpc.aio {name}", partial(_async, target, name)
            yield f"grpc stream {name}", partial(_stream, target, name)
    refused = f"127.0.0.1:{closed_port()}"
    yield "grpc refused", lambda: _call(refused, "x")
    yield "grpc.aio refused", partial(_async, refused, "x")
    yield "grpc no_such_host", lambda: _call("no-such-host.invalid:1", "x")
    with Scripted(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        yield "grpc no grpc", lambda: _call(f"127.0.0.1:{port}", "x")


def _call(target: str, name: str) -> Any:
    import grpc

    with grpc.insecure_channel(target, _options(name)) as channel:
        return channel.unary_unary("/a.B/C")(name.encode(), timeout=1.0)


def _stream(target: str, name: str) -> Any:
    import grpc

    with grpc.insecure_channel(target, _options(name)) as channel:
        return list(channel.unary_stream("/a.B/S")(name.encode(), timeout=1.0))


def _async(target: str, name: str) -> Any:
    return asyncio.run(_call_async(target, name))


async def _call_async(target: str, name: str) -> Any:
    import grpc

    async with grpc.aio.insecure_channel(target, _options(name)) as channel:
        return await channel.unary_unary("/a.B/C")(name.encode(), timeout=1.0)


def _options(name: str) -> list[tuple[str, int]]:
    return [("grpc.max_receive_message_length", 10 if name == "too large" else 10_000)]


@contextlib.contextmanager
def _server() -> Iterator[str]:
    import grpc

    def whole(request: bytes, context: Any) -> bytes:
        return _fail(request.decode(), context)

    def pieces(request: bytes, context: Any) -> Iterator[bytes]:
        yield b"begun"
        yield _fail(request.decode(), context)

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            streamed = details.method.endswith("/S")
            return (grpc.unary_stream_rpc_method_handler if streamed else grpc.unary_unary_rpc_method_handler)(
                pieces if streamed else whole
            )

    server = grpc.server(futures.ThreadPoolExecutor(4), [Handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def _fail(name: str, context: Any) -> bytes:
    import time

    import grpc

    if name == "too large":
        return b"x" * 1000
    if name == "hang":
        time.sleep(1.5)
        return b""
    code, text, trailing, delay = ANSWERS[name]
    if delay is not None:
        trailing = (*trailing, ("grpc-status-details-bin", _retry_info(code, text, delay)))
    context.set_trailing_metadata(trailing)
    context.abort(getattr(grpc.StatusCode, code), text)
    return b""


def _retry_info(code: str, text: str, delay_s: float) -> bytes:
    import grpc
    from google.protobuf import any_pb2, duration_pb2
    from google.rpc import error_details_pb2, status_pb2

    packed = any_pb2.Any()
    whole = int(delay_s)
    delay = duration_pb2.Duration(seconds=whole, nanos=int((delay_s - whole) * 1e9))
    packed.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    number = getattr(grpc.StatusCode, code).value[0]
    said: bytes = status_pb2.Status(code=number, message=text, details=[packed]).SerializeToString()
    return said
