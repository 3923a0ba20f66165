"""Raises what libraries raise and classifies it on the spot: a line of JSON for each situation, on stdout.

`.venv-sdks/bin/python -m tests.sdks.runner NAME…` runs the clients or groups of that name; without a name all of them.
One process may hold several libraries: importing them is what takes the time.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import socket
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from proofq.policies.answers import failure_in
from proofq.policies.classify import classify
from proofq.workers.errors import ErrorInside
from tests.sdks import bodies, http_clients, local_clients, rpc_clients, sdk_clients, store_clients
from tests.sdks.server import FaultServer

#: Seconds since 1970 by which waits that are a time of day are read: that of `bodies.DATE`.
NOW = 1_763_719_200.0
CLIENTS = {**sdk_clients.CLIENTS, **http_clients.CLIENTS}
#: Longer than all of it takes on the busiest machine, and shorter than the test's patience.
STUCK_S = 200.0
#: What happens to the connection, or is no answer at all.
TRANSPORT = (
    "refused", "no_such_host", "tls", "drop", "reset", "hang", "nonsense", "loop", "cut", "hang_body", "gzip", "chunk",
    "page", "gateway_page", "half_json", "nothing", "inside_200_key", "inside_200_limit_after",
)  # fmt: skip
STREAMS = ("stream_cut", "stream_stall", "stream_error", "stream_garbage", "endless", "limit_after", "key")


#: Those that are no HTTP client, by the name of their module.
GROUPS: dict[str, Callable[[FaultServer], Iterator[tuple[str, Callable[[], Any]]]]] = {
    "rpc": lambda _: rpc_clients.situations(),
    "stores": lambda _: store_clients.situations(),
    "local": local_clients.situations,
}


def _situations(client: sdk_clients.Client) -> Iterator[tuple[str, Callable[[str], Any]]]:
    for name in (*bodies.SAID, *TRANSPORT):
        if name not in client.without:
            yield name, client.ask
    if client.stream is not None:
        for name in STREAMS:
            yield name, client.stream


def _met(name: str, client: sdk_clients.Client, server: FaultServer) -> Iterator[dict[str, Any]]:
    for situation, ask in _situations(client):
        streamed = "stream: " if ask is client.stream else ""
        yield judged(name, streamed + situation, partial(ask, server.url(client.dialect, situation)))


def _group(situations: Iterator[tuple[str, Callable[[], Any]]]) -> Iterator[dict[str, Any]]:
    for name, provoke in situations:
        library, _, situation = name.partition(" ")
        yield judged(library, situation, provoke)


def judged(library: str, situation: str, provoke: Callable[[], Any]) -> dict[str, Any]:
    """What classify makes of what `provoke` raises, and what it cost and did; an error inside an answer is raised as
    `ctx.call` does."""
    began = time.perf_counter()
    try:
        said = provoke()
        inside = failure_in(said, NOW)
        if inside is not None:
            raise ErrorInside(library, inside, said)
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return _judged(library, situation, error) | {"raised_after_s": round(time.perf_counter() - began, 3)}
    return {"library": library, "situation": situation, "raised": None, "said": repr(said)[:200]}


def _judged(library: str, situation: str, error: BaseException) -> dict[str, Any]:
    modules, sockets = set(sys.modules), _Sockets()
    with sockets:
        began = time.perf_counter()
        found = classify(error, now=NOW)
        took = time.perf_counter() - began
    return {
        "library": library, "situation": situation, "raised": f"{type(error).__module__}.{type(error).__qualname__}",
        "kind": found.kind, "retry_after": found.retry_after, "source": found.source, "phase": found.phase,
        "reason": found.reason, "fingerprint": found.fingerprint, "took_s": took,
        "imported": sorted(set(sys.modules) - modules), "read": sockets.read,
    }  # fmt: skip


class _Sockets:
    """Counts what is read from the network meanwhile, by this thread."""

    read = 0

    def __enter__(self) -> None:
        def seen(*_: object) -> None:
            self.read += 1

        sys.setprofile(lambda frame, event, arg: seen() if event == "c_call" and _reads(arg) else None)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)


def _reads(function: Any) -> bool:
    return getattr(function, "__name__", "") in (
        "recv",
        "recv_into",
        "read",
        "readinto",
        "select",
        "poll",
    ) and isinstance(getattr(function, "__self__", None), socket.socket)


@contextlib.contextmanager
def _few_certificates() -> Iterator[None]:
    """Every new client loads all of certifi's authorities, which takes longer than to fail: let there be one."""
    import certifi

    with tempfile.NamedTemporaryFile("w", suffix=".pem") as kept:
        end = "-----END CERTIFICATE-----\n"
        kept.write(Path(certifi.where()).read_text().partition(end)[0] + end)
        kept.flush()
        os.environ.update(SSL_CERT_FILE=kept.name, REQUESTS_CA_BUNDLE=kept.name)
        yield


def main(names: list[str]) -> None:
    """Run these, or all."""
    warnings.simplefilter("ignore")
    # Where a client hangs in spite of its time-out, that is what is to be seen.
    faulthandler.dump_traceback_later(STUCK_S, exit=True)
    os.environ.update(
        LITELLM_LOCAL_MODEL_COST_MAP="True", OPENAI_AGENTS_DISABLE_TRACING="1", AWS_EC2_METADATA_DISABLED="true"
    )
    for name in [one for one in os.environ if one.lower().endswith("_proxy")]:
        del os.environ[name]
    # litellm advertises on stdout.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    with FaultServer() as server, _few_certificates():
        for name in names or (*CLIENTS, *GROUPS):
            for line in _met(name, CLIENTS[name], server) if name in CLIENTS else _group(GROUPS[name](server)):
                out.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
    # Some leave threads that nobody joins.
    sys.stdout.flush()
    os._exit(0)
