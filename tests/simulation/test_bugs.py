"""Planted bugs are found by the simulator's first seeds, and every patch still applies."""

from __future__ import annotations

import pytest

from tests.simulation import bugs

#: Seeds within which each bug below must be found.
SEEDS = 500
#: With a seed that found it when this was written: the first to be asked, since all seeds before it cost half a minute.
MUST_FIND = {"fence-not-compared": 261, "hold-off-removed": 2, "write-before-check": 0}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("bug", MUST_FIND)
def test_a_planted_bug_is_found(bug: str) -> None:
    """Each of these turns one of the 500 seeds red."""
    seed = MUST_FIND[bug]
    found = bugs.hunt(bug, 1, first=seed)
    assert found.seed == seed or bugs.hunt(bug, SEEDS).seed is not None


def test_every_patch_applies() -> None:
    """A planted bug that does not apply any more shows nothing."""
    assert len(bugs.names()) >= 12
    for bug in bugs.names():
        with bugs.planted(bug):
            pass
