"""What must hold of a gate and its breadcrumbs."""

from __future__ import annotations

from typing import Any

import pytest

from proofq.policies import gate_audit

CRUMBS: list[list[Any]] = [
    [1, None, "first", "probing", "", 1, "w", "r1"],
    [2, "probing", "probe", "probing", "", 2, "w", "r2"],
    [3, "probing", "trip", "tripped", "", 3, "w", "r3"],
]
ROW = {"state": "tripped", "epoch": "3", "until": "33.5"}


def test_a_gate_as_it_should_be() -> None:
    """Also where only its newest breadcrumbs are kept, or none."""
    for kept in (CRUMBS, CRUMBS[1:], []):
        assert list(gate_audit.contradictions(ROW, kept)) == []


@pytest.mark.parametrize(
    ("row", "crumbs", "said"),
    [
        ({**ROW, "state": "ajar"}, CRUMBS, "no state of a gate: 'ajar'"),
        ({**ROW, "until": "soon"}, CRUMBS, "its until is no number: 'soon'"),
        ({"state": "tripped", "epoch": "3"}, CRUMBS, "it is tripped, and no time opens it"),
        ({"state": "cooling", "epoch": "3"}, [], "it is cooling, and no time opens it"),
        (ROW, [CRUMBS[0], CRUMBS[2]], "epoch 3 begins in probing, and epoch 1 led to probing"),
        (ROW, [*CRUMBS[:2], [3, "open", "trip", "tripped", "", 3, "w", "r3"]], "epoch 3 begins in open"),
        (
            ROW,
            [*CRUMBS[:2], [3, "probing", "trip", "open", "", 3, "w", "r3"]],
            "'trip' does not lead from probing to open",
        ),
        ({**ROW, "epoch": "4"}, CRUMBS, "it is tripped, epoch 4, and its breadcrumbs end in tripped, epoch 3"),
        ({**ROW, "state": "open"}, CRUMBS, "it is open, epoch 3, and its breadcrumbs end in tripped, epoch 3"),
    ],
)
def test_what_contradicts_itself(row: dict[str, str], crumbs: list[list[Any]], said: str) -> None:
    """Each is named."""
    assert any(said in sentence for sentence in gate_audit.contradictions(row, crumbs))
