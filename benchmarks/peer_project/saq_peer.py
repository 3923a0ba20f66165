"""saq's worker: `saq saq_peer.settings --workers 4`."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import work
from saq.queue.redis import RedisQueue

queue = RedisQueue.from_url(os.environ["PEER_URL"])


async def write(ctx: dict[str, Any], *, out: str) -> str:
    """Nothing but the file."""
    return work.write(out)


async def gate(ctx: dict[str, Any], *, out: str, up: str, go: str) -> str:
    """Hold a place until `go` exists."""
    return await work.gate_async(out, up, go)


async def ask(ctx: dict[str, Any], *, out: str, url: str) -> str:
    """Ask a provider."""
    return await asyncio.to_thread(work.ask, out, url)


settings = {"queue": queue, "functions": [write, gate, ask], "concurrency": int(os.environ.get("PEER_SLOTS", "10"))}

#: What each is enqueued with: a gate may wait for longer than the 10 s that saq gives a job; the retries are those of
#: the documentation's own example.
OPTIONS: dict[str, dict[str, Any]] = {
    "write": {"timeout": 10},
    "gate": {"timeout": 300},
    "ask": {"retries": 5, "timeout": 60, "retry_delay": 5.0, "retry_backoff": True},
}


async def enqueuer() -> Any:
    """A function that enqueues one job."""
    await queue.connect()

    async def enqueue(what: str, inputs: dict[str, Any]) -> None:
        await queue.enqueue(what, **OPTIONS[what], **inputs)

    return enqueue
