"""Planted bugs are found by the simulator's first seeds, and every patch still applies."""

from __future__ import annotations

import pytest

from tests.simulation import bugs

#: Seeds within which each bug below must be found.
SEEDS = 500
MUST_FIND = ("fence-not-compared", "hold-off-removed", "write-before-check")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("bug", MUST_FIND)
def test_a_planted_bug_is_found(bug: str) -> None:
    """Each of these turns one of the 500 seeds red."""
    assert bugs.hunt(bug, SEEDS).seed is not None


def test_every_patch_applies() -> None:
    """A planted bug that does not apply any more shows nothing."""
    assert len(bugs.names()) >= 12
    for bug in bugs.names():
        with bugs.planted(bug):
            pass
