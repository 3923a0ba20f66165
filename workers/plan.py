"""A move as settling.lua takes it: what it says and nothing else, since each word of it is read at every settlement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from proofq.policies import lifecycle

if TYPE_CHECKING:
    from proofq.workers.store import Move

#: What stands for the script's time in the times of a move, and "@now-37" for 37 ms before it.
NOW: Final = "@now"


def of(move: Move, request: str) -> dict[str, Any]:
    """The plan. Members that are empty are left out, as far as settling.lua can do without."""
    fields, times = _timed(move.fields)
    attempt, attempt_times = _timed(move.attempt)
    plan: dict[str, Any] = {
        "id": move.id,
        "rid": request,
        "from": move.source,
        "fence": move.fence,
        "event": move.event,
        "to": move.to,
        "who": move.who,
        "set": fields,
        "drop": list(move.drop),
        "owner": move.owner,
        "queue": move.queue,
    }
    may_be_left_out: dict[str, Any] = {
        "reason": move.reason[:500],
        "evidence": move.evidence[:500],
        "times": times,
        "attempt": attempt,
        "attempt_times": attempt_times,
        "job": dict(move.job),
        "result": dict(move.result),
        "drop_result": move.drop_result,
        "waits": move.to in lifecycle.WAITING,
        "bell": move.bell,
        "heeds_cancel": move.heeds_cancel,
        "after": list(move.after),
        "through": [list(one) for one in move.through],
        "incident": dict(move.incident),
    }
    plan.update((name, value) for name, value in may_be_left_out.items() if value)
    if move.due_in_ms is not None:
        plan["due_in_ms"] = move.due_in_ms
    if move.max_age_ms is not None:
        plan["max_age_ms"] = move.max_age_ms
    if move.gate is not None:
        plan["gate"] = dict(move.gate)
    return plan


def _timed(fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
    """Those that are no times, and of those that are how many milliseconds ago each was."""
    times = {
        name: int(value[len(NOW) + 1 :] or 0)
        for name, value in fields.items()
        if name.endswith("_at") and isinstance(value, str) and value.startswith(NOW)
    }
    return {name: value for name, value in fields.items() if name not in times}, times
