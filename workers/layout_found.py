"""Which layout the things in Redis have: a worker asks before anything else of it is loaded."""

from __future__ import annotations

from typing import Any

from proofq.policies import layout
from proofq.workers import keys
from proofq.workers.errors import OtherLayout
from proofq.workers.reading import reading


def check(client: Any) -> None:
    """Raises OtherLayout where Redis, which `client` of redis-py speaks to, holds what is laid out for another major
    version of proofq."""
    with reading(keys.LAYOUT):
        row = client.hgetall(keys.LAYOUT)
    major = row.get(b"major", b"").decode("utf-8", "replace")
    if major in ("", str(layout.MAJOR)):
        return
    with reading(keys.TASKS):
        left = client.zcard(keys.TASKS) + client.zcard(keys.OWNERS)
    if left:
        raise OtherLayout(layout.refusal(major, row.get(b"release", b"").decode("utf-8", "replace")))
