"""A process killed with -9 costs seconds, whichever it was."""

from __future__ import annotations

import pytest

from tests.acceptance.recovery import TARGETS, WITHIN_S, measure


@pytest.mark.timeout(180)
def test_next_attempt_runs_within_seconds() -> None:
    """For every kind of process, and for all of a worker at once: the next attempt runs within five seconds."""
    taken = measure(TARGETS, 1)
    assert {target: max(seconds) for target, seconds in taken.items() if max(seconds) > WITHIN_S} == {}
