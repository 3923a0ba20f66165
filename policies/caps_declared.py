"""`max_running` and `rate` as somebody declared them, read or refused with a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proofq.policies import declared as values
from proofq.policies.agent import DeclarationProblem
from proofq.policies.caps import Rate

#: The longest time of a rate: its starts are kept for so long.
MAX_PER_S = 86_400.0


def max_running(raw: Mapping[str, Any]) -> int | None:
    """How many attempts may run at once; None where it says nothing. Raises DeclarationProblem."""
    return None if raw.get("max_running") is None else values.count(raw, "max_running", 1)


def rate(raw: Mapping[str, Any]) -> Rate | None:
    """How many attempts may begin within a time; None where it says nothing. Raises DeclarationProblem."""
    table = raw.get("rate")
    if table is None:
        return None
    if not isinstance(table, Mapping) or set(table) != {"starts", "per_s"}:
        raise DeclarationProblem("a rate is a table, such as { starts = 60, per_s = 60 }", key=("rate",))
    try:
        found = Rate(values.count(table, "starts", 1), values.seconds(table, "per_s", 1.0))
    except DeclarationProblem as problem:
        raise DeclarationProblem(f"rate: {problem.message}", key=("rate",)) from problem
    if not 0.001 <= found.per_s <= MAX_PER_S:
        raise DeclarationProblem(
            f"rate: per_s is {found.per_s:g}; it is from 0.001 to {MAX_PER_S:.0f} seconds", key=("rate",)
        )
    return found
