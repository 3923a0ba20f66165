"""A `budget` as somebody declared it, read or refused with a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from proofq.policies import declared as values
from proofq.policies.agent import DeclarationProblem
from proofq.policies.budget import MAX_BUDGETS, MOST, UNITS, WINDOWS, Budget


def read(raw: Any, *, task: bool) -> tuple[Budget, ...]:
    """A `budget` as it was declared: a table, or a list of them. `task`: it may be per task, as it is by default.

    Raises DeclarationProblem.
    """
    if raw is None or raw == {}:
        return ()
    tables = raw if isinstance(raw, list | tuple) else [raw]
    if len(tables) > MAX_BUDGETS:
        raise DeclarationProblem(f"a budget has at most {MAX_BUDGETS} tables", key=("budget",))
    found = tuple(_table(each, task=task) for each in tables)
    windows = [one.per for one in found]
    if len(set(windows)) < len(windows):
        raise DeclarationProblem("two tables of it are for the same window; make them one", key=("budget",))
    return found


def _table(raw: Any, *, task: bool) -> Budget:
    if not isinstance(raw, Mapping):
        raise DeclarationProblem('a budget is a table, such as { usd = 5.0, per = "day" }', key=("budget",))
    per = raw.get("per", "task" if task else "day")
    known = (*(["task"] if task else []), *WINDOWS)
    if per not in known:
        raise DeclarationProblem(f"per is {per!r:.40}; it is one of {', '.join(known)}", key=("budget",))
    try:
        values.known_keys(raw, frozenset({"per", *UNITS}), "budget")
    except DeclarationProblem as problem:
        raise DeclarationProblem(problem.message, key=("budget",)) from problem
    limits = {name: _limit(name, raw[name]) for name in UNITS if name in raw}
    if not limits:
        raise DeclarationProblem(f"it limits nothing; say one of {', '.join(UNITS)}", key=("budget",))
    return Budget(per, **limits)


def _limit(name: str, value: Any) -> Any:
    whole = UNITS[name] == 1
    if isinstance(value, timedelta) and name == "wall_s":
        value = value.total_seconds()
    kinds = int if whole else (int, float)
    most = MOST * 1000 if whole else MOST
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value <= most or not math.isfinite(value):
        what = "a whole number" if whole else "a number"
        raise DeclarationProblem(f"{name} is {value!r:.40}; it is {what} above 0, at most {most}", key=("budget",))
    return value if whole else float(value)
