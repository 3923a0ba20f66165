"""Budgets: what may be spent on a task, by an agent and of a provider, and in which window. Data and arithmetic only.

Redis counts in whole numbers (`UNITS` of each dimension), so that no sum drifts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from proofq.policies import lifecycle
from proofq.policies.failure import Failure

#: What is counted, and in how many whole numbers one of it is kept: micro-dollars, milliseconds.
UNITS: Final[Mapping[str, int]] = {"usd": 1_000_000, "tokens": 1, "requests": 1, "wall_s": 1000, "output_bytes": 1}
#: What an agent says itself, by `ctx.spend` or its adapter; the rest is measured.
SAID: Final = frozenset({"usd", "tokens", "requests"})
#: How long a window is, and so for how long what was spent in it is kept; "task" has none.
WINDOWS: Final[Mapping[str, str]] = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}
KEPT_S: Final[Mapping[str, float]] = {"hour": 2 * 86_400.0, "day": 40 * 86_400.0, "month": 400 * 86_400.0}
#: For how many days the ledger of each day is kept.
LEDGER_DAYS: Final = 100
#: Most of one dimension: beyond it a number in Lua is not exact any more.
MOST: Final = 1_000_000_000
#: Most tables of one budget.
MAX_BUDGETS: Final = 8
#: Marks a failure that a budget of ours gave, and that room in it ends.
FINGERPRINT: Final = "budget:"


@dataclass(frozen=True)
class Budget:
    """Limits of one window: `per` is "task", "hour", "day" or "month" of UTC. None: no limit of that dimension."""

    per: str
    usd: float | None = None
    tokens: int | None = None
    requests: int | None = None
    wall_s: float | None = None
    output_bytes: int | None = None

    def limits(self) -> dict[str, int]:
        """Of the dimensions that have one, in whole numbers."""
        said = {name: getattr(self, name) for name in UNITS}
        return {name: round(value * UNITS[name]) for name, value in said.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Give the plain JSON object that `from_dict` reads."""
        said = {name: getattr(self, name) for name in UNITS}
        return {"per": self.per, **{name: value for name, value in said.items() if value is not None}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Budget:
        """Read what `to_dict` gave; unknown keys of a newer writer are left out."""
        return cls(**{name: data[name] for name in ("per", *UNITS) if name in data})


@dataclass(frozen=True)
class Scope:
    """A counter that attempts of an agent draw on: its `owner` is an agent or a provider, called `name`."""

    owner: str
    name: str
    per: str
    window: str
    limits: Mapping[str, int]

    @property
    def words(self) -> str:
        return f"{self.owner} {self.name} per {self.per}"


def scopes(owner: str, name: str, budgets: Iterable[Budget], at: datetime) -> list[Scope]:
    """The counters of these budgets, as of a time in UTC; that of the task is no counter."""
    return [
        Scope(owner, name, one.per, at.strftime(WINDOWS[one.per]), one.limits()) for one in budgets if one.per != "task"
    ]


def of_task(budgets: Iterable[Budget]) -> dict[str, int]:
    """What may be spent on one task."""
    return next((one.limits() for one in budgets if one.per == "task"), {})


def units(amounts: Mapping[str, float]) -> dict[str, int]:
    """In whole numbers; a fraction of the smallest counts as one."""
    return {name: _whole(value * UNITS[name]) for name, value in amounts.items() if value}


def amounts(counted: Mapping[str, int]) -> dict[str, float]:
    """What whole numbers stand for, of every dimension that is not 0."""
    return {name: counted[name] / UNITS[name] for name in UNITS if counted.get(name)}


def bad_amount(name: str, value: Any) -> str:
    """What is wrong with what an agent says it spends; "" for nothing."""
    whole = UNITS[name] == 1
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        return f"{name} is {value!r:.40}; it is {'a whole number' if whole else 'a number'}"
    if not math.isfinite(value) or not 0 <= value <= MOST:
        return f"{name} is {value!r:.40}; it is from 0 to {MOST}"
    return ""


def reached(where: str, name: str, limit: int, spent: int) -> Failure:
    """The failure of whoever finds nothing left."""
    said = f"the budget of {where} is reached: {shown(name, spent)} of {shown(name, limit)} {name}"
    # Tasks that reach budgets of their own are one cause.
    which = "task" if where.startswith("task ") else where
    return Failure("budget", said, phase="run", fingerprint=f"{FINGERPRINT}{which}")


def more(fingerprint: str) -> str:
    """What lets a task go on that a failure with this fingerprint holds, as a clause; "" for none of ours."""
    if not fingerprint.startswith(FINGERPRINT):
        return ""
    per = fingerprint.rpartition(" per ")[2] if " per " in fingerprint else ""
    again = f"its next {per} (UTC) begins or " if per else ""
    return f"it goes on by itself once {again}a worker declares a higher budget"


def busy(where: str, attempt: int) -> Failure:
    """The failure of who waits until it is known what an attempt costs; every time for longer."""
    said = f"nobody knows yet what an attempt costs, and another one is being tried on the budget of {where}"
    return Failure("budget", said, phase="start", retry_after_s=min(300.0, 2.0 * 2 ** min(attempt, 8)))


def is_ours(failure: Failure | None) -> bool:
    """Whether room in a budget of ours is what the task waits for."""
    return failure is not None and failure.kind == "budget" and failure.fingerprint.startswith(FINGERPRINT)


def forgotten(event: str, said: Mapping[str, Any]) -> tuple[str, ...]:
    """Fields of a task that this event ends: a human's replay begins its own budget anew, room in one does not."""
    return ("spent",) if event in lifecycle.REPLAYS and said.get("spent") != "kept" else ()


def has_room(limits: Mapping[str, int], spent: Mapping[str, int]) -> bool:
    """Whether something is left of every dimension."""
    return all(spent.get(name, 0) < limit for name, limit in limits.items())


def shown(name: str, counted: int) -> str:
    """A whole number as people read it."""
    return f"{counted / UNITS[name]:g}"


def _whole(value: float) -> int:
    return math.ceil(value - 1e-6) if value > 0 else math.floor(value + 1e-6)
