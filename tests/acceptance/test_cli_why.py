"""`proofq why` over the whole matrix of states and what led to them, with real rows."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from proofq.policies import budget, classes, lifecycle
from proofq.policies.failure import Failure
from proofq.workers import keys
from proofq.workers.door import Event
from tests.commands import Inside, Project
from tests.workbench import Bench

Way = Callable[[Bench, Project], str]


def _plain(state: str) -> Way:
    def bring(bench: Bench, project: Project) -> str:
        task_id = project.enqueue()
        bench.to(task_id, state)
        return task_id

    return bring


def _failing(kind: str) -> Way:
    return _failed_of(Failure(kind, "for a reason", fingerprint="f"))


def _failed_of(failure: Failure) -> Way:
    def bring(bench: Bench, project: Project) -> str:
        task_id = project.enqueue()
        bench.event(bench.run(task_id), "failed", failure=failure)
        return task_id

    return bring


def _then(first: str, *events: str) -> Way:
    def bring(bench: Bench, project: Project) -> str:
        task_id = _plain(first)(bench, project)
        for event in events:
            assert bench.door.apply(task_id, Event(event, "cli:test", "asked for")).ok
        return task_id

    return bring


def _cancelled_at_work(bench: Bench, project: Project) -> str:
    task_id = project.enqueue()
    lease = bench.run(task_id)
    assert bench.door.apply(task_id, Event("cancel", "cli:test", "asked for")).ok
    bench.event(lease, "cancel")
    return task_id


def _owner(**fields: object) -> Way:
    def bring(bench: Bench, project: Project) -> str:
        running, task_id = project.enqueue(), ""
        bench.run(running)
        task_id = project.enqueue()
        bench.store.client.hset(keys.owner(bench.owner), mapping={name: str(value) for name, value in fields.items()})
        return task_id

    return bring


def _behind(bench: Bench, project: Project) -> str:
    project.enqueue()
    return project.enqueue()


WAYS: dict[str, Way] = {
    **{state: _plain(state) for state in lifecycle.STATES},
    **{f"failed as {kind}": _failing(kind) for kind in classes.CLASSES if kind != "cancelled"},
    "replayed": _then(lifecycle.FAILED, "replay"),
    "due": _then(lifecycle.DEFERRED, "due"),
    "expired while deferred": _then(lifecycle.DEFERRED, "expire"),
    "expired while queued again": _then(lifecycle.DEFERRED, "due", "expire"),
    "expired while held": _then(lifecycle.HELD, "expire"),
    "cancelled while held": _then(lifecycle.HELD, "cancel"),
    "cancel asked": _then(lifecycle.RUNNING, "cancel"),
    "cancelled at work": _cancelled_at_work,
    "all slots busy": _owner(slots=1, state="ready"),
    "worker draining": _owner(slots=4, state="draining"),
    "nobody declares it": _owner(agents=""),
    "queued behind": _behind,
    "held at a budget": _failed_of(budget.reached("agent note per day", "usd", 1_000_000, 1_200_000)),
    "waiting for a price": _failed_of(budget.busy("agent note per day", 1)),
    "at a shut gate": _failed_of(Failure("overloaded", "the gate of p is held", source="host", retry_after_s=60.0)),
    "told to wait": _failed_of(Failure("rate_limited", "429", source="provider", retry_after_s=60.0)),
    "an effect in doubt": _failed_of(Failure("effect_unknown", "ctx.once('mail') was begun", fingerprint="f")),
}
#: What must stand in the paragraph of some.
SAYS = {
    "all slots busy": "Every slot of the workers that declare note is taken.",
    "worker draining": "is draining or still starting and takes no task",
    "nobody declares it": "No live worker declares the agent note.",
    "queued behind": "It is number 2 in its queue.",
    "held": "give its workers a credential that is accepted",
    "deferred": "it is queued at 20",
    "cancel asked": "its cancel was asked",
    "cancelled": "by bench after no attempt",
    "cancelled at work": "by cli:test after 1 attempt",
    "expired while queued again": "Class network (",
    "held at a budget": "Next: it goes on by itself once its next day (UTC) begins or a worker declares",
    "failed as budget": "Next: raise the limit if the work is worth it",
    "waiting for a price": "nobody knows yet what an attempt costs",
    "at a shut gate": "Class overloaded (a gate was shut, and nobody was asked)",
    "told to wait": "nobody is blamed, and the task waits before it is tried again",
    "an effect in doubt": "look whether what it began in the world is there",
    "expired": "Class no_progress (nothing came of it within its time)",
}


@pytest.mark.parametrize("way", WAYS)
def test_every_state_says_why(inside: Inside, project: Project, bench: Bench, way: str) -> None:
    """One paragraph: what happened, which class, which rule, what next; nothing empty in it, and no None."""
    task_id = WAYS[way](bench, project)
    task = bench.store.read(task_id)
    said = inside("why", task_id, "--json").document
    text: str = said["text"]
    assert inside("why", task_id).stdout == f"{text}\n"
    assert task_id in text
    assert text.endswith(f"Next: {said['next']}")
    assert not re.search(r"None|nan|\{\}|\(\)|  |: ?\.|\. ?\.| ,|``|since \.|at \.", text), text
    assert said["next"].strip(" .")
    assert said["rule"]
    assert f"Rule {said['rule']}: " in text
    if task.failure is not None:
        assert said["class"] == task.failure.kind
        assert f"Class {task.failure.kind} (" in text
    assert SAYS.get(way, "") in text


@pytest.mark.parametrize(
    ("way", "what"),
    [
        ("all slots busy", "slot"), ("worker draining", "worker"), ("nobody declares it", "worker"),
        ("deferred", "time"), ("held", "human"), ("queued", None), ("running", None), ("verified", None),
    ],
)  # fmt: skip
def test_show_says_what_is_waited_for(
    inside: Inside, project: Project, bench: Bench, way: str, what: str | None
) -> None:
    """`waiting_for` names a worker, a slot, a time (with until when) or a human; null where nothing is in the way."""
    waits = inside("show", WAYS[way](bench, project), "--json").document["waiting_for"]
    assert (waits or {}).get("what") == what
    if waits is not None:
        assert waits.keys() == {"what", "name", "until"}
        assert (waits["until"] is not None) == (what == "time")
