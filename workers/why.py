"""Gathers what `policies.explain` needs to say why a task is where it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from proofq.policies import cap_words, explain, gate_words, lifecycle
from proofq.policies.effects import sentence
from proofq.policies.explain import Explanation, Story
from proofq.workers import cap_view, effects, fleet, gate_view, incidents, task_view
from proofq.workers.clock import iso
from proofq.workers.errors import Error
from proofq.workers.record import Breadcrumb, Task
from proofq.workers.snapshot import Snapshot
from proofq.workers.store import Store


def why(store: Store, task_id: str) -> Explanation:
    """Why the task is where it is. Raises UnknownTask, and Error for damaged rows."""
    snapshot = task_view.snapshot_of(store, task_id)
    if not snapshot.crumbs:
        raise Error(
            f"Task {task_id} has no breadcrumbs, so nothing says why. `proofq audit` says what is wrong with it."
        )
    task = snapshot.task
    told = _incident(store, snapshot)
    if task.state != lifecycle.QUEUED:
        probed = gate_view.probed_by(store, task.id) if task.state in lifecycle.OWNED else None
        probes = gate_view.shut(probed).name if probed else ""
        story = replace(_story(snapshot, told), after=_after(store, task.after_open), probes=probes)
        said = explain.explain(story)
        return _with_effects(said, task, store)
    story = replace(_story(snapshot, told), ahead=store.ahead_of(task.id, task.queue))
    service = fleet.service(store, task.agent, task.lane)
    if service in fleet.SERVED:
        if (shut := gate_view.before(store, task.agent, task.lane)) is not None:
            return explain.explain(replace(story, service="gate", gate=gate_words.waiting(gate_view.shut(shut))))
        if (reached := cap_view.before(store, task.agent, task.lane)) is not None:
            return explain.explain(replace(story, service="gate", gate=cap_words.waiting(reached)))
    return explain.explain(replace(story, service=service))


def _with_effects(said: Explanation, task: Task, store: Store) -> Explanation:
    """And what it has begun in the world and nobody has confirmed."""
    begun = [one.key for one in effects.of_task(store, task.id) if one.state(task.fence) == "unconfirmed"]
    return replace(said, text=f"{said.text} {sentence(task.id, begun)}") if begun else said


def _after(store: Store, ids: Sequence[str]) -> list[tuple[str, str]]:
    """The tasks that have yet to end in success, and their states."""
    states = {one.id: one.state for one in store.read_many(ids)} if ids else {}
    return [(one, states.get(one, "gone")) for one in ids]


def _incident(store: Store, snapshot: Snapshot) -> str:
    """About the incident that its last failure belongs to; '' for none."""
    named = snapshot.attempts[-1].get("incident") if snapshot.attempts else None
    return incidents.sentence_of(store, named) if isinstance(named, str) else ""


def _story(snapshot: Snapshot, incident: str) -> Story:
    task, last = snapshot.task, snapshot.attempts[-1] if snapshot.attempts else {}
    arrival = _arrival(snapshot.crumbs)
    newest = snapshot.crumbs[-1]
    refused = lifecycle.is_refused(newest.event)
    failed = task.failure
    return Story(
        id=task.id,
        agent=task.agent,
        state=task.state,
        attempt=task.attempt,
        counted=task.counted,
        max_attempts=task.max_attempts,
        event=arrival.event,
        at=iso(arrival.at) or "",
        who=_who(snapshot.crumbs, arrival),
        reason=arrival.reason,
        rule=_rule(snapshot.crumbs, arrival),
        kind=failed.kind if failed else str(last.get("class") or ""),
        failure_reason=failed.reason if failed else str(last.get("reason") or "") if last.get("class") else "",
        fingerprint=failed.fingerprint if failed else "",
        worker=str(last.get("worker") or ""),
        host=str(last.get("host") or ""),
        not_before=iso(task.not_before) or "",
        expires_at=iso(task.expires_at) or "",
        max_age_s=task.max_age_s,
        cancel_asked=task.cancel,
        taken_over=arrival.event == "reap",
        refused=(newest.event.partition(":")[2], newest.reason) if refused else None,
        incident=incident,
        proofs=[(proof["kind"], proof["outcome"]) for proof in (task.verdict or {}).get("proofs", [])],
    )


def _arrival(crumbs: Sequence[Breadcrumb]) -> Breadcrumb:
    """The breadcrumb that says how the task came to be as it is: its last move, or a change of hands after that."""
    moves = [each for each in crumbs if not lifecycle.is_refused(each.event)]
    return [each for each in moves if each.event not in {"ask_cancel", "baseline", "trial", "mend"}][-1]


def _who(crumbs: Sequence[Breadcrumb], arrival: Breadcrumb) -> str:
    """Who caused it: of a cancel that its holder carried out, whoever asked for it."""
    if arrival.event != "cancel" or not arrival.fence:
        return arrival.who
    asked = [each.who for each in crumbs if (each.event, each.attempt) == ("ask_cancel", arrival.attempt)]
    return asked[-1] if asked else arrival.who


def _rule(crumbs: Sequence[Breadcrumb], arrival: Breadcrumb) -> str:
    """The rule that decided. A task whose pause is over stands where the rule before the pause had sent it."""
    if arrival.event == "due":
        before = [each for each in crumbs if each.to == lifecycle.DEFERRED and each.at <= arrival.at]
        return (before[-1].evidence or arrival.event) if before else arrival.event
    return arrival.evidence or arrival.event
