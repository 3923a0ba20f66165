"""Whether a job that plain RQ put into a queue of ours becomes a task, and which.

Only a call of `proofq.run` with one object of inputs does. What RQ would do for a job beside running it (dependencies,
retries, repeats, callbacks) is ours or nobody's, and asking for it is refused rather than ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proofq.policies import inputs as input_rules
from proofq.policies.failure import Failure

#: What an RQ producer calls.
FUNCTION: Final = "proofq.run"
#: Fields of RQ's job hash (rq 2.12) that ask for something we do not do, and what to use instead.
REFUSED: Final[Mapping[str, str]] = {
    "dependency_id": "depends_on: enqueue the task when the other has ended",
    "dependency_ids": "depends_on: enqueue the task when the other has ended",
    "retries_left": "Retry: the failure's class decides, within the agent's max_attempts",
    "repeats_left": "Repeat: declare a schedule",
    "success_callback_name": "on_success: read the task's end",
    "failure_callback_name": "on_failure: read the task's end",
    "stopped_callback_name": "on_stopped: read the task's end",
    "webhooks": "webhooks: read the task's end",
}


@dataclass(frozen=True)
class ForeignJob:
    """What a job's hash asks for. `fields`: its other fields as text. `unreadable`: why its call cannot be read."""

    function: str = ""
    instance: Any = None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    unreadable: str = ""


@dataclass(frozen=True)
class Adopted:
    """What becomes of it: `event` is its birth by the table; `failure` says why it is no work."""

    event: str
    inputs: Mapping[str, Any]
    failure: Failure | None = None


def judge(job: ForeignJob, schema: Mapping[str, Any]) -> Adopted:
    """The birth of the task: queued with its inputs, failed as `bad_input`, or quarantined where it is no call."""
    if job.unreadable:
        return _poison(f"its call cannot be read: {job.unreadable}")
    if job.function != FUNCTION:
        return _poison(f"it calls {job.function!r:.100}; only {FUNCTION} is run here, with one object of inputs")
    asked = [advice for name, advice in REFUSED.items() if job.fields.get(name, "") not in ("", "[]", "null")]
    if asked:
        return _bad(f"it asks RQ for what is not done here: {'; '.join(dict.fromkeys(asked))}")
    if job.instance is not None or job.kwargs or len(job.args) != 1 or not isinstance(job.args[0], dict):
        return _bad(f"{FUNCTION} takes one positional argument, an object of inputs by name")
    inputs: dict[str, Any] = job.args[0]
    problems = input_rules.validate(schema, inputs)
    return _bad("; ".join(problems)) if problems else Adopted("adopt", inputs)


def _bad(reason: str) -> Adopted:
    return Adopted("adopt_bad", {}, Failure("bad_input", reason, source="task", phase="inputs"))


def _poison(reason: str) -> Adopted:
    return Adopted("adopt_poison", {}, Failure("bad_input", reason, source="task", phase="inputs"))
