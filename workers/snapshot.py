"""Everything Redis holds of one task as of one instant, read by one script, so that no reader sees half a step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proofq.policies.audit_view import View
from proofq.workers import packed
from proofq.workers.record import Breadcrumb, Task

#: RQ's `Result.Type`, as words.
_RESULT_TYPES: Final = {"1": "successful", "2": "failed", "3": "stopped", "4": "retried", "5": "max_retries_exceeded"}


@dataclass(frozen=True)
class Peek:
    """The raw answer of peek.lua about one task. `damaged`: (key, its type) for each key that holds another type."""

    id: str
    row: dict[str, str]
    crumbs: list[Breadcrumb]
    attempts: list[dict[str, Any]]
    job: dict[str, str] | None
    in_queue: int
    registries: frozenset[str]
    started: list[str]
    results: list[dict[str, str]]
    listed: float | None
    expires: float | None
    due: float | None
    counted: float | None
    ended: dict[str, float]
    lease: str | None
    other_lease: str | None
    deadline: float | None
    damaged: list[tuple[str, str]]

    @classmethod
    def parse(cls, task_id: str, raw: bytes) -> Peek:
        """Raises ValueError for rows that are not ours: no JSON where there should be some."""
        answer = json.loads(raw.decode("utf-8", "surrogateescape"))
        try:
            row = packed.whole(_pairs(answer["row"]))
            # Beside a packed row stands only what came after it.
            crumbs = json.loads(row.pop("crumbs", "[]")) + json.loads(answer["crumbs"])
            attempts = json.loads(row.pop("attempts", "[]")) + json.loads(answer["attempts"])
            return cls(
                id=task_id,
                row=row,
                crumbs=[Breadcrumb(*crumb) for crumb in crumbs],
                attempts=sorted(attempts, key=lambda record: int(record["n"])),
                job=_pairs(answer["job"]) or None,
                in_queue=answer["in_queue"],
                registries=frozenset(answer["registries"]),
                started=list(answer["started"]),
                results=[_pairs(fields) for fields in answer["results"]],
                listed=_score(answer, "listed"),
                expires=_score(answer, "expires"),
                due=_score(answer, "due"),
                counted=_score(answer, "counted"),
                ended={state: float(score) for state, score in dict(answer["ended"]).items()},
                lease=answer.get("lease"),
                other_lease=answer.get("other_lease"),
                deadline=_score(answer, "deadline"),
                damaged=[(key, actual) for key, actual in answer["damaged"]],
            )
        except (KeyError, TypeError, ValueError, OverflowError) as problem:
            raise ValueError(f"the rows of task {task_id} cannot be read: {problem!r}") from problem

    def view(self) -> View:
        """The same for the audit's rules."""
        return View(
            id=self.id,
            row=self.row,
            crumbs=self.crumbs,
            attempts=self.attempts,
            job=self.job,
            in_queue=self.in_queue,
            registries=self.registries,
            started=self.started,
            results=[_RESULT_TYPES.get(row.get("type", ""), "unknown") for row in self.results],
            listed=self.listed,
            expires=self.expires,
            due=self.due,
            counted=self.counted,
            ended=self.ended,
            lease=self.lease,
            owner_known=self.deadline is not None,
        )


@dataclass(frozen=True)
class Snapshot:
    """A task with everything that must agree with it. `registries`: RQ's statuses -> whether theirs holds the task;
    `in_queue`: how often its id stands in its queue; `results`: rows of RQ's result stream, oldest first."""

    task: Task
    crumbs: list[Breadcrumb]
    attempts: list[dict[str, Any]]
    job: dict[str, str]
    registries: dict[str, bool]
    in_queue: int
    results: list[dict[str, str]]

    @classmethod
    def of(cls, peek: Peek) -> Snapshot:
        """Raises ValueError when the task's row is damaged."""
        registries = {status: status in peek.registries for status in ("deferred", "finished", "failed", "canceled")}
        return cls(
            task=Task.read(peek.id, peek.row),
            crumbs=peek.crumbs,
            attempts=peek.attempts,
            job=peek.job or {},
            registries=registries | {"started": bool(peek.started)},
            in_queue=peek.in_queue,
            results=peek.results,
        )


def _pairs(flat: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """An empty list comes out of Lua as an empty object."""
    return dict(zip(flat[::2], flat[1::2], strict=True)) if isinstance(flat, Sequence) else {}


def _score(answer: Mapping[str, Any], name: str) -> float | None:
    value = answer.get(name)
    return None if value is None else float(value)
