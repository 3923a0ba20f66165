"""What an event changes in Redis: the fields of its move, and several events of one attempt as one move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from proofq.policies import lifecycle
from proofq.policies.failure import Failure
from proofq.policies.settlement import Decision
from proofq.workers import rq_view
from proofq.workers.event import Event
from proofq.workers.plan import NOW
from proofq.workers.record import Task

#: What each event that ends an attempt is called in the attempt's record.
_OUTCOME: Final[Mapping[str, str]] = {
    "verify": "verified",
    "found": "verified",
    "finish_unproven": "unverified",
    "give_back": "given_back",
    "cancel": "cancelled",
}


class Step(NamedTuple):
    """What an event changes that leads from one state of a lease to another, as a part of the move that it is written
    with. `ago_ms`: milliseconds since it happened."""

    source: str
    event: str
    to: str
    reason: str
    ago_ms: int
    fields: Mapping[str, str]
    drop: Sequence[str]
    attempt: Mapping[str, Any]

    @property
    def crumb(self) -> tuple[int, str, str, str, str]:
        """Its breadcrumb, as settling.lua takes it."""
        return self.ago_ms, self.event, self.to, self.reason[:500], ""


def step(source: str, event: Event, to: str, ago_ms: int, well: bool) -> Step:
    """Of an event of the holder that does not end the lease. `well`: what follows ends the task in success, which never
    runs again, so that nobody compares with how the world was before it."""
    fields = {} if well and event.name == "baseline" else facts_of(event.name, event, ago_ms)
    drop = stale(source, fields, to)
    return Step(source, event.name, to, event.reason, ago_ms, fields, drop, patch_within(event, ago_ms))


def together(
    steps: Sequence[Step], fields: dict[str, str], drop: list[str], attempt: dict[str, Any]
) -> tuple[dict[str, str], list[str], dict[str, Any]]:
    """What is set, dropped, and patched in the attempt's record by these steps and what follows them, each as far as
    nothing after it says otherwise."""
    if not steps:
        return fields, drop, attempt
    all_set: dict[str, str] = {}
    dropped: dict[str, None] = {}
    patch: dict[str, Any] = {}
    for set_now, drop_now, patch_now in [
        *((one.fields, one.drop, one.attempt) for one in steps),
        (fields, drop, attempt),
    ]:
        for name, value in set_now.items():
            all_set[name] = value
            dropped.pop(name, None)
        for name in drop_now:
            all_set.pop(name, None)
            dropped[name] = None
        patch |= patch_now
    return all_set, list(dropped), patch


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


def patch_within(event: Event, ago_ms: int) -> dict[str, Any]:
    """What it changes in the attempt's record without ending it."""
    told: dict[str, Any] = {"progress": event.progress, "progress_at": NOW} if event.progress else {}
    if event.steps:
        told["steps"] = list(event.steps)
    if event.name != "start":
        return told
    shown = {name: event.fields[name] for name in ("pid", "start_ticks", "shared") if name in event.fields}
    return {"started_at": _past(ago_ms), **shown, **told}


def patch_at_end(decision: Decision, event: Event, failure: Failure | None) -> dict[str, Any]:
    """The same where it ends it."""
    ended_as = "lost" if event.name == "lost" else "failed"
    outcome = event.outcome or _OUTCOME.get(decision.event, ended_as)
    patch = {"ended_at": NOW, "outcome": outcome, "counted": decision.counted, **patch_within(event, 0)}
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
    return f"{NOW}-{ago_ms}" if ago_ms else NOW
