"""Whether a job that plain RQ put into a queue of ours becomes a task, and which.

Only a call of `proofq.run` with one object of inputs does. What RQ would do for a job beside running it (dependencies,
retries, repeats, callbacks) is ours or nobody's, and asking for it is refused rather than ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proofq.policies import inputs as input_rules
from proofq.policies import passing
from proofq.policies.agent import AgentSpec
from proofq.policies.failure import Failure

#: What an RQ producer calls.
FUNCTION: Final = "proofq.run"
#: Fields of RQ's job hash (rq 2.12) that ask for something we do not do, and what to use instead.
REFUSED: Final[Mapping[str, str]] = {
    "dependency_id": "depends_on: enqueue it with proofq, after=[the other task]",
    "dependency_ids": "depends_on: enqueue it with proofq, after=[the other task]",
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
class Parked:
    """Where RQ kept the job, by its own word: `deferred` (for a dependency) or `scheduled`.

    `in_s`: seconds until the time it was scheduled for; None where it has none.
    """

    where: str
    in_s: float | None = None


@dataclass(frozen=True)
class Adopted:
    """What becomes of it: `event` is its birth by the table; `failure` says why it is no work.

    `inputs` of what is no work are what was given, so that a replay meets the same refusal.
    """

    event: str
    inputs: Mapping[str, Any]
    failure: Failure | None = None


def judge(job: ForeignJob, spec: AgentSpec, parked: Parked | None = None) -> Adopted:
    """The birth of the task: queued or deferred with its inputs, failed as `bad_input`, or quarantined where it is no
    call. `parked`: where RQ kept it; None for one that stood in its queue."""
    if job.unreadable:
        return _poison(job, f"its call cannot be read: {job.unreadable}")
    if job.function != FUNCTION:
        return _poison(job, f"it calls {job.function!r:.100}; only {FUNCTION} is run here, with one object of inputs")
    asked = [advice for name, advice in REFUSED.items() if job.fields.get(name, "") not in ("", "[]", "null")]
    if asked:
        return _bad(job, f"it asks RQ for what is not done here: {'; '.join(dict.fromkeys(asked))}")
    if not _is_call(job):
        return _bad(job, f"{FUNCTION} takes one positional argument, an object of inputs by name")
    problems = (
        input_rules.validate(spec.inputs_schema, job.args[0])
        or passing.problems(passing.of_agent(spec), job.args[0])
        or _waits(parked, spec.max_age_s)
    )
    if problems:
        return _bad(job, "; ".join(problems))
    return Adopted("adopt" if parked is None else "adopt_later", job.args[0])


def _is_call(job: ForeignJob) -> bool:
    return job.instance is None and not job.kwargs and len(job.args) == 1 and isinstance(job.args[0], dict)


def _waits(parked: Parked | None, max_age_s: float) -> list[str]:
    """Why what RQ keeps would never be queued: better said now than once it has expired."""
    if parked is None:
        return []
    if parked.where != "scheduled":
        return [f"RQ keeps it as {parked.where} and it names no dependency: nothing would ever end that"]
    if parked.in_s is None:
        return ["it is scheduled for a time that is none"]
    if parked.in_s >= max_age_s:
        return [f"it is scheduled for later than the agent's max_age_s of {max_age_s:g} s, by which it would expire"]
    return []


def _given(job: ForeignJob) -> Mapping[str, Any]:
    """What was given, under names that no agent has where it is no object of inputs."""
    given = job.args[0] if _is_call(job) else {"*args": list(job.args), "**kwargs": dict(job.kwargs)}
    try:
        json.dumps(given, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError):
        return {"*args": "no JSON that could be kept"}
    return given


def _bad(job: ForeignJob, reason: str) -> Adopted:
    return Adopted("adopt_bad", _given(job), Failure("bad_input", reason, source="task", phase="inputs"))


def _poison(job: ForeignJob, reason: str) -> Adopted:
    return Adopted("adopt_poison", _given(job), Failure("bad_input", reason, source="task", phase="inputs"))
