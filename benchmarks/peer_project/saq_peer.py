"""saq's worker: `saq saq_peer.settings --workers 4`."""

from __future__ import annotations

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


settings = {"queue": queue, "functions": [write, gate], "concurrency": 10}


async def enqueuer() -> Any:
    """A function that enqueues one job."""
    await queue.connect()

    async def enqueue(what: str, inputs: dict[str, Any]) -> None:
        # A gate may wait for longer than the 10 s that saq gives a job.
        await queue.enqueue(what, timeout=300 if what == "gate" else 10, **inputs)

    return enqueue
