"""Tasks by their state, from the index that counts them: a walk costs what stands in the state, not what there is.

The index is a view (`keys.STATES`): a task that a stranger's key kept out of it is missing here, `proofq status` says
how many are, and the audit names them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from proofq.workers import keys
from proofq.workers.reading import reading, text
from proofq.workers.store import Store

LANES: Final = ("work", "meta")
#: Ids that are asked of Redis in one go.
PAGE: Final = 500


def count(store: Store, lane: str, state: str) -> int:
    """How many there are. Raises DamagedKey."""
    return int(_members(store, lane, state, "", 0)[1])


def pages(store: Store, lane: str, state: str) -> Iterator[list[str]]:
    """Their ids, in no order that says anything. Who leaves the state meanwhile may be missing, none comes twice."""
    after = ""
    while ids := [text(raw) for raw in _members(store, lane, state, after, PAGE)[2]]:
        yield ids
        after = ids[-1]


def newest(store: Store, state: str) -> list[str]:
    """The ids of all of both lanes, newest first. Raises DamagedKey."""
    found: list[tuple[float, str]] = []
    for lane in LANES:
        for ids in pages(store, lane, state):
            with reading(keys.TASKS):
                scores = store.client.zmscore(keys.TASKS, ids)
            # One that was purged since is in the list no more.
            found += [(score, name) for score, name in zip(scores, ids, strict=True) if score is not None]
    return [name for _, name in sorted(found, reverse=True)]


def _members(store: Store, lane: str, state: str, after: str, limit: int) -> list[Any]:
    return store.call("members", lane, state, after, limit)
