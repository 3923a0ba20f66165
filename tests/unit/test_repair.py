"""What an attempt is told of the last one's output."""

from __future__ import annotations

from typing import Any

import pytest

from proofq.policies import repair


def _record(kind: str | None, reason: str = "", *, counted: bool = True) -> dict[str, Any]:
    return {"class": kind, "reason": reason, "counted": counted}


REFUSED = _record("malformed_output", "not JSON")
LOST = _record("lost_worker", "its owner is gone", counted=False)
OPEN = {"n": 3}


@pytest.mark.parametrize(
    ("records", "told"),
    [
        ([], None),
        ([OPEN], None),
        ([REFUSED, OPEN], "not JSON"),
        ([REFUSED, LOST, OPEN], "not JSON"),
        ([REFUSED, _record("infrastructure", counted=False), LOST, OPEN], "not JSON"),
        ([REFUSED, _record("crash"), OPEN], None),
        ([REFUSED, _record("unverified", "empty file"), LOST, OPEN], None),
        ([_record("crash"), REFUSED, OPEN], "not JSON"),
        ([REFUSED, _record("malformed_output", "half a document"), OPEN], "half a document"),
        ([_record("malformed_output", "x", counted=False), OPEN], None),
        ([{"class": "malformed_output", "counted": True}, OPEN], ""),
    ],
)
def test_last_word_counts(records: list[dict[str, Any]], told: str | None) -> None:
    """The last attempt that counted says it; one that was cut short says nothing, one that failed otherwise ends it."""
    assert repair.of(records) == told
