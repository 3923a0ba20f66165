"""Whether every task that waits for others will be told of their end; the audit's rule `after_lost`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from proofq.policies.audit_view import Violation
from proofq.policies.lifecycle import DEFERRED, TERMINAL
from proofq.workers import keys
from proofq.workers.reading import reading, text
from proofq.workers.store import Store


def lost(store: Store, task_id: str, ids: Sequence[str]) -> Iterator[Violation]:
    """A violation for each of `ids` that the task waits for and whose end nobody would ever tell it."""
    for other in ids:
        with store.client.pipeline(transaction=True) as pipe, reading(keys.task(task_id)):
            pipe.hmget(keys.task(task_id), "state", "after_open")
            pipe.hget(keys.task(other), "state")
            pipe.lpos(keys.followers(other), task_id)
            pipe.zscore(keys.FOLLOWING, other)
            row, state, place, following = pipe.execute(raise_on_error=False)
        if any(isinstance(one, Exception) for one in (row, state, place, following)) or not _waits(row, other):
            continue
        if state is None:
            yield Violation("after_lost", task_id, f"it waits for {other}, which is not there")
        elif place is None:
            yield Violation("after_lost", task_id, f"it waits for {other}, which does not know of it")
        elif text(state) in TERMINAL and following is None:
            yield Violation(
                "after_lost", task_id, f"it waits for {other}, which is {text(state)}, and nobody would say so"
            )


def _waits(row: Sequence[Any], other: str) -> bool:
    """As of the same instant, whether the task waits for that other one."""
    if row[0] is None or row[1] is None or text(row[0]) != DEFERRED:
        return False
    return other in json.loads(row[1])
