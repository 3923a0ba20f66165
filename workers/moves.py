"""What an event changes in Redis: the fields of its move, and several events of one attempt as one move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final

from proofq.policies import lifecycle
from proofq.policies.failure import Failure
from proofq.policies.settlement import Decision
from proofq.workers import rq_view
from proofq.workers.event import Event
from proofq.workers.record import Task
from proofq.workers.store import Move

#: What each event that ends an attempt is called in the attempt's record.
_OUTCOME: Final[Mapping[str, str]] = {
    "verify": "verified",
    "found": "verified",
    "finish_unproven": "unverified",
    "give_back": "given_back",
    "cancel": "cancelled",
}


def together(moves: Sequence[tuple[Move, int]]) -> Move:
    """One move that leads where these lead one after the other, with each one's milliseconds since it happened.

    All but the last are between states of one lease: each leaves its breadcrumb, and what it writes as far as nothing
    after it writes that anew.
    """
    last, _ = moves[-1]
    if len(moves) == 1:
        return last
    fields: dict[str, str] = {}
    drop: dict[str, None] = {}
    attempt: dict[str, Any] = {}
    for move, _ in moves:
        for name, value in move.fields.items():
            fields[name] = value
            drop.pop(name, None)
        for name in move.drop:
            fields.pop(name, None)
            drop[name] = None
        attempt |= move.attempt
    return replace(
        last,
        source=moves[0][0].source,
        through=[(ago_ms, move.event, move.to, move.reason[:500], move.evidence[:500]) for move, ago_ms in moves[:-1]],
        fields=fields,
        drop=list(drop),
        attempt=attempt,
    )


def stale(state: str, fields: Mapping[str, str], to: str) -> list[str]:
    """Fields that may not stand in the new state, and those that would be of a past attempt or wait."""
    past = [name for name in _past_fields(state, to) if name not in fields]
    return [*lifecycle.scrubbed(to), *past]


@cache
def _past_fields(state: str, to: str) -> tuple[str, ...]:
    """What stands in `to` of an attempt or wait, so that one of before would be taken for this one's."""
    names = ["failure"] if to in lifecycle.FIELDS["failure"] else []
    if state in lifecycle.OWNED and to in lifecycle.FIELDS["verdict"]:
        names.append("verdict")
    return tuple(names)


def facts_of(name: str, event: Event, ago_ms: int) -> dict[str, str]:
    """The fields that only this event writes."""
    match name:
        case "start":
            return {"started_at": _past(ago_ms), "pickups": "0"}
        case "baseline":
            return {"baseline": rq_view.compact(event.fields)}
        case "claim" | "found":
            return {"claim": rq_view.compact(event.claim)}
        case "ask_cancel":
            return {"cancel": "1"}
        case "trial":
            return {"trial": "1"}
        case "replay" | "replay_after":
            return {"counted": "0", "pickups": "0", "deaths": "0", "fingerprint": "", "equal_failures": "0"}
        case _:
            return {}


def attempt_patch(
    decision: Decision, event: Event, failure: Failure | None, ago_ms: int, *, ends: bool
) -> dict[str, Any]:
    """What it changes in the attempt's record."""
    told: dict[str, Any] = {"progress": event.progress, "progress_at": "@now"} if event.progress else {}
    if event.steps:
        told["steps"] = list(event.steps)
    if decision.event == "start":
        shown = {name: event.fields[name] for name in ("pid", "start_ticks", "shared") if name in event.fields}
        return {"started_at": _past(ago_ms), **shown, **told}
    if not ends:
        return told
    ended_as = "lost" if event.name == "lost" else "failed"
    outcome = event.outcome or _OUTCOME.get(decision.event, ended_as)
    patch: dict[str, Any] = {"ended_at": "@now", "outcome": outcome, "counted": decision.counted, **told}
    if failure is not None:
        patch |= {"class": failure.kind, "reason": failure.reason[:500]}
    elif decision.reason:
        patch["reason"] = decision.reason[:500]
    return patch


def result(task: Task, to: str, reason: str) -> dict[str, str]:
    """The row of RQ's result stream for a task that ends in `to`; {} where it does not end."""
    if to not in lifecycle.TERMINAL:
        return {}
    return rq_view.result_row(to, task.claim, reason)


def _past(ago_ms: int) -> str:
    """The time of so many milliseconds ago, as the scripts take it."""
    return f"@now-{ago_ms}" if ago_ms else "@now"
