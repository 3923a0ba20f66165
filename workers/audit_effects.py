"""Whether the list of unconfirmed effects names those that were begun and not done, and no others: `effect_listed`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from proofq.policies.audit_view import Violation
from proofq.workers import keys
from proofq.workers.reading import reading, text
from proofq.workers.store import Store


def of_task(store: Store, task_id: str) -> Iterator[Violation]:
    """Its records, each beside its place in the list, as of one instant; and that there is a task."""
    with reading(keys.effects(task_id)):
        names = [text(name) for name in store.client.hkeys(keys.effects(task_id))]
    for name in names:
        there, raw, score = _seen(store, task_id, name)
        if raw is None:
            continue
        if not there:
            yield Violation("orphan_rows", keys.effects(task_id), "no task has this id")
            return
        if _is_open(raw) != (score is not None):
            yield _violation(task_id, name, raw, score)


def of_list(store: Store, member: str) -> Iterator[Violation]:
    """An entry of the list that no open record stands behind."""
    task_id, _, name = member.partition(" ")
    _, raw, score = _seen(store, task_id, name)
    if score is not None and (raw is None or not _is_open(raw)):
        yield _violation(task_id, name, raw, score)


def _seen(store: Store, task_id: str, name: str) -> tuple[bool, Any, Any]:
    with store.client.pipeline(transaction=True) as pipe, reading(keys.effects(task_id)):
        pipe.exists(keys.task(task_id))
        pipe.hget(keys.effects(task_id), name)
        pipe.zscore(keys.UNCONFIRMED, f"{task_id} {name}")
        there, raw, score = pipe.execute()
    return bool(there), raw, score


def _is_open(raw: bytes) -> bool:
    try:
        return json.loads(raw).get("done_at") is None
    except (ValueError, AttributeError):
        return False


def _violation(task_id: str, name: str, raw: Any, score: Any) -> Violation:
    stands = "open" if raw is not None and _is_open(raw) else "gone" if raw is None else "done, or cannot be read"
    listed = "listed" if score is not None else "not listed"
    return Violation("effect_listed", task_id, f"effect {name!r:.80} is {stands} and {listed} as unconfirmed")
