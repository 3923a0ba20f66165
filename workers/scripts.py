"""Loads the Lua scripts and runs them by name: one store call is one script is one atomic step."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Final, Protocol

import redis

from proofq.policies import layout
from proofq.workers import script_text
from proofq.workers.errors import Error, OtherLayout, RedisUnavailable
from proofq.workers.own_connection import OwnConnection

NAMES: Final = (
    "enqueue",
    "lease",
    "beat",
    "settle",
    "follow",
    "reap",
    "owner",
    "rq_rows",
    "watch",
    "restore",
    "parked",
    "aside",
    "peek",
    "census",
    "members",
    "pause",
    "purge",
    "kept",
    "mend",
    "unlist",
    "effect",
    "incident",
    "gate",
    "spend",
)

Argument = str | bytes | int


class DamagedKey(Error):
    """A key holds another type than ours; nothing was written. The message names it."""

    kind = "damaged_key"

    def __init__(self, key: str, actual: str) -> None:
        super().__init__(
            f"The Redis key {key} holds a {actual}, which is not ours; nothing was written. "
            "Look at it, put it right or move it away (RENAME), and run `proofq audit`."
        )
        self.key = key
        self.actual = actual


#: Words by which Redis says that it serves nobody, or no writer, at present.
_NOT_NOW: Final = ("MISCONF", "MASTERDOWN", "NOREPLICAS", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "LOADING")


def _refusal(text: str, problem: redis.ResponseError) -> RedisUnavailable | None:
    """Redis answered, and will not do it for now: nothing was written. None for an error of ours."""
    if isinstance(problem, redis.OutOfMemoryError) or "OOM" in text:
        return RedisUnavailable(
            "Redis has reached its maxmemory and refuses new work; nothing was written. "
            "Give it more memory, or let workers drain it, then try again."
        )
    if isinstance(problem, redis.ReadOnlyError) or any(word in text for word in _NOT_NOW):
        return RedisUnavailable(f"Redis refuses to write at present: {text[:200]}")
    return None


class Runner(Protocol):
    """Runs one script; the seam at which the simulator loses replies and cuts connections."""

    def __call__(self, name: str, arguments: Sequence[Argument]) -> list[Any]:
        """The script's answer. `RedisUnavailable` when it is not known whether it ran; `DamagedKey` when it refused."""


class RedisRunner:
    """Runs scripts on a connection; errors of the client become ours.

    `own_connections`: each thread keeps one to itself instead of taking one from the pool for each command. A script
    costs 19 µs of CPU so and 62 through the pool, but a connection that broke while nobody looked is noticed only by
    the next command's failure: for a worker, which insists.
    """

    def __init__(self, client: redis.Redis, *, own_connections: bool = False) -> None:
        self._client = client
        self._own = threading.local() if own_connections else None
        self._scripts = {name: client.register_script(script_text.text(name)) for name in NAMES}

    def __call__(self, name: str, arguments: Sequence[Argument]) -> list[Any]:
        try:
            answer: list[Any] = self._send(name, list(arguments))
        except (redis.ConnectionError, redis.TimeoutError, OSError) as problem:
            raise RedisUnavailable(f"Redis did not answer ({type(problem).__name__}); is it running?") from problem
        except redis.ResponseError as problem:
            refusal = _refusal(str(problem), problem)
            if refusal is None:
                raise
            raise refusal from problem
        if answer and answer[0] == b"wrong_type":
            raise DamagedKey(answer[1].decode("utf-8", "replace"), answer[2].decode())
        if answer and answer[0] == b"other_layout":
            raise OtherLayout(layout.refusal(*(said.decode("utf-8", "replace") for said in answer[1:3])))
        return answer

    def _send(self, name: str, arguments: list[Any]) -> Any:
        if self._own is None:
            return self._scripts[name](args=arguments)
        if not hasattr(self._own, "connection"):
            self._own.connection = OwnConnection(self._client.connection_pool)
        return self._own.connection.run(self._scripts[name], arguments)
