"""What the audit's rules look at: everything that Redis holds of one task as of one instant, and what they find."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Crumb(Protocol):
    """A breadcrumb, as `workers.record` reads it."""

    @property
    def source(self) -> str | None: ...
    @property
    def event(self) -> str: ...
    @property
    def to(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def fence(self) -> str: ...


@dataclass(frozen=True)
class View:
    """One task as of one instant.

    `row`: its fields as stored. `attempts`: its records in order. `job`: RQ's hash, None where there is none;
    `in_queue`: how often its id stands in its queue; `registries`: RQ's statuses whose registry holds it, `started`
    aside; `started`: the fences under which it stands in the started registry; `results`: RQ's results, oldest first,
    as "successful", "failed" or another word. `listed`, `expires`, `due`: its scores among all tasks, the ages and the
    due; `counted`: the number of the state under which its lane counts it (None = not a member); `lease`: the fence
    its owner's leases hold for it; `owner_known`: whether that owner has a deadline.
    """

    id: str
    row: Mapping[str, str]
    crumbs: Sequence[Crumb]
    attempts: Sequence[Mapping[str, Any]]
    job: Mapping[str, str] | None
    in_queue: int
    registries: Collection[str]
    started: Sequence[str]
    results: Sequence[str]
    listed: float | None
    expires: float | None
    due: float | None
    counted: float | None
    ended: Mapping[str, float]
    lease: str | None
    owner_known: bool

    @property
    def state(self) -> str:
        return self.row.get("state", "")

    def number(self, name: str) -> float | None:
        """A numeric field of the row; None where it is absent or none."""
        try:
            return float(self.row[name])
        except (KeyError, ValueError):
            return None


@dataclass(frozen=True)
class Violation:
    """One contradiction: the rule's name, what it is about (a task's id, an owner, a key), and what was seen."""

    rule: str
    subject: str
    detail: str
    #: Of an id on a list where it does not belong: the list, the member, the task's id, the field of its row that says
    #: where it belongs, and the value with which it would belong there.
    place: tuple[str, str, str, str, str] | None = None

    def to_dict(self) -> dict[str, str]:
        return {"rule": self.rule, "subject": self.subject, "detail": self.detail}
