"""What must hold of one gate at every instant, as far as its breadcrumbs reach back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from proofq.policies import gate

#: Fields of a gate that are numbers where they are there.
_NUMBERS = ("epoch", "until", "since", "probe_until", "watch_until", "limited", "ramp_until", "ramp_next", "ramp_of")


def contradictions(row: Mapping[str, str], crumbs: Sequence[Sequence[Any]]) -> Iterator[str]:
    """A sentence for each. `crumbs` are those that are kept: at, from, event, to, reason, epoch, who, request id."""
    state = row.get("state")
    if state not in gate.STATES:
        yield f"it is in no state of a gate: {state!r:.40}"
        return
    yield from (
        f"its {name} is no number: {row[name]!r:.40}" for name in _NUMBERS if name in row and not _is_number(row[name])
    )
    for one in crumbs:
        if gate.TABLE.get((one[1], one[2])) != one[3]:
            yield f"{one[2]!r:.40} does not lead from {one[1]} to {one[3]}"
    for before, after in pairwise(crumbs):
        if (before[3], before[5] + 1) != (after[1], after[5]):
            yield f"epoch {after[5]} begins in {after[1]}, and epoch {before[5]} led to {before[3]}"
    if crumbs and (crumbs[-1][3], str(crumbs[-1][5])) != (state, row.get("epoch")):
        end = f"{crumbs[-1][3]}, epoch {crumbs[-1][5]}"
        yield f"it is {state}, epoch {row.get('epoch')}, and its breadcrumbs end in {end}"
    if state in (gate.COOLING, gate.TRIPPED) and "until" not in row:
        yield f"it is {state}, and no time opens it"


def _is_number(said: str) -> bool:
    return said.replace(".", "", 1).isdecimal()
