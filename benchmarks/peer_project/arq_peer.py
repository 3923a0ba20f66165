"""arq's worker: `arq arq_peer.WorkerSettings`, one process each; it has no option for more."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import work
from arq import Retry
from arq.connections import RedisSettings, create_pool

SETTINGS = RedisSettings.from_dsn(os.environ["PEER_URL"])


async def write(ctx: dict[str, Any], out: str) -> str:
    """Nothing but the file."""
    return work.write(out)


async def gate(ctx: dict[str, Any], out: str, up: str, go: str) -> str:
    """Hold a place until `go` exists."""
    return await work.gate_async(out, up, go)


async def ask(ctx: dict[str, Any], out: str, url: str) -> str:
    """Ask a provider, with the retries of the documentation's own example."""
    try:
        return await asyncio.to_thread(work.ask, out, url)
    except OSError as error:
        raise Retry(defer=ctx["job_try"] * 5) from error


class WorkerSettings:
    """As the documentation's own example: the functions, and where Redis is. 10 jobs at a time unless told otherwise,
    polled every 0.5 s."""

    functions = (write, gate, ask)
    redis_settings = SETTINGS
    max_jobs = int(os.environ.get("PEER_SLOTS", "10"))


async def enqueuer() -> Any:
    """A function that enqueues one job."""
    pool = await create_pool(SETTINGS)

    async def enqueue(what: str, inputs: dict[str, Any]) -> None:
        await pool.enqueue_job(what, **inputs)

    return enqueue
