"""dramatiq's worker: `dramatiq dramatiq_peer --processes 4`; 8 threads in each, as it comes."""

from __future__ import annotations

import os
from typing import Any

import dramatiq
import work
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=os.environ["PEER_URL"]))

ACTORS = {name: dramatiq.actor(getattr(work, name)) for name in ("write", "gate", "ask")}


async def enqueuer() -> Any:
    """A function that enqueues one message."""

    async def enqueue(what: str, inputs: dict[str, Any]) -> None:
        ACTORS[what].send(**inputs)

    return enqueue
