"""arq's worker: `arq arq_peer.WorkerSettings`, one process each; it has no option for more."""

from __future__ import annotations

import os
from typing import Any

import work
from arq.connections import RedisSettings, create_pool

SETTINGS = RedisSettings.from_dsn(os.environ["PEER_URL"])


async def write(ctx: dict[str, Any], out: str) -> str:
    """Nothing but the file."""
    return work.write(out)


async def gate(ctx: dict[str, Any], out: str, up: str, go: str) -> str:
    """Hold a place until `go` exists."""
    return await work.gate_async(out, up, go)


class WorkerSettings:
    """As the documentation's own example: the functions, and where Redis is. 10 jobs at a time, polled every 0.5 s."""

    functions = (write, gate)
    redis_settings = SETTINGS


async def enqueuer() -> Any:
    """A function that enqueues one job."""
    pool = await create_pool(SETTINGS)

    async def enqueue(what: str, inputs: dict[str, Any]) -> None:
        await pool.enqueue_job(what, **inputs)

    return enqueue
