"""celery's worker: `celery -A celery_peer worker --concurrency 4`."""

from __future__ import annotations

import os
from typing import Any

import work
from celery import Celery

app = Celery("celery_peer", broker=os.environ["PEER_URL"])
# The guide to optimizing, for many short tasks: a large one, say 64.
app.conf.worker_prefetch_multiplier = 64

TASKS = {
    "write": app.task(work.write, name="write"),
    "gate": app.task(work.gate, name="gate"),
    # The guide's own options for tasks that ask another service; and none at all.
    "ask": app.task(work.ask, name="ask", autoretry_for=(Exception,), retry_backoff=True),
    "ask_once": app.task(work.ask, name="ask_once"),
}


async def enqueuer() -> Any:
    """A function that enqueues one task."""

    async def enqueue(what: str, inputs: dict[str, Any]) -> None:
        TASKS[what].delay(**inputs)

    return enqueue
