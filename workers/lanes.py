"""A worker's lane, served by one supervisor or by several that share its slots, shown as one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from proofq.workers.fleet import FULL, SUSPENDED, Owner

#: A lane is in the first of these states that one of its supervisors is in.
_ORDER: Final = ("starting", "draining", FULL, SUSPENDED, "ready")


def merged(owners: Iterable[Owner]) -> list[Owner]:
    """One row for the live supervisors of each worker's lane; whoever is lost keeps a row to itself."""
    rows: list[Owner] = []
    for one in owners:
        last = rows[-1] if rows else None
        if last and last.alive and one.alive and (last.name, last.lane, last.pid) == (one.name, one.lane, one.pid):
            rows[-1] = _with(last, one)
        else:
            rows.append(one)
    return rows


def _with(lane: Owner, other: Owner) -> Owner:
    seen = [one.seen_s for one in (lane, other) if one.seen_s is not None]
    return replace(
        lane,
        state=min(lane.state, other.state, key=_rank),
        slots=lane.slots + other.slots,
        agents=lane.agents | other.agents,
        tasks=tuple(sorted({*lane.tasks, *other.tasks})),
        seen_s=max(seen, default=None),
        draining_asked=lane.draining_asked or other.draining_asked,
        full=lane.full or other.full,
    )


def _rank(state: str) -> int:
    return _ORDER.index(state) if state in _ORDER else 0
