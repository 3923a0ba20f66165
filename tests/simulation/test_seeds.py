"""The simulator's short form: 500 seeds hold, a seed is the same each time, and planted bugs are found."""

from __future__ import annotations

import pytest

from tests.simulation import bugs
from tests.simulation.campaign import Totals
from tests.simulation.run import LEAST_CALLS, campaign

#: Seeds of `make test`, in parts that run side by side.
SEEDS, PARTS = 500, 10
#: Bugs that the seeds of `make test` must find.
MUST_FIND = ("fence-not-compared", "hold-off-removed", "write-before-check")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(PARTS))
def test_seeds_hold(part: int) -> None:
    """No invariant is broken by any fault between any two store calls, and every seed was long enough."""
    totals = Totals()
    for outcome in campaign(range(part, SEEDS, PARTS)):
        assert not outcome.broken, f"python -m tests.simulation --seed {outcome.seed}: {outcome.broken}"
        assert outcome.calls >= LEAST_CALLS
        totals.add(outcome)
    assert totals.seeds == SEEDS // PARTS
    assert totals.faults.total() > totals.seeds


def test_a_seed_replays() -> None:
    """The same seed takes the same steps, so that a failing one can be looked at again."""
    first, again = (next(iter(campaign([11]))) for _ in range(2))
    assert first.digest == again.digest
    assert first.trace


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
