"""A process that enqueues: what eight of them do at once under the same keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from proofq.workers import known_agents, producer, session
from proofq.workers.producer import Request


def produce(root: Path, url: str, start: Any, found: Any) -> None:
    """Once all are there, five tasks of the agent `note`; what came of each key goes to `found`."""
    opened = session.open_session(root, {"PROOFQ_REDIS_URL": url})
    start.wait()
    known = known_agents.find(opened, "note")
    for number in range(5):
        inputs = {"text": "hi", "out": "a.txt", "count": number}
        found.put((number, producer.enqueue(opened, known, inputs, Request(key=f"k{number}"), "test").id))
