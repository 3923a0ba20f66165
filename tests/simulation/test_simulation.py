"""The simulator's seeds: no invariant breaks, a seed replays, and each seed does as much as it promises."""

from __future__ import annotations

import pytest

from tests.simulation.campaign import Totals
from tests.simulation.run import LEAST_CALLS, LEAST_TASKS, campaign

#: Seeds of `make test`, in parts that several processes share.
SEEDS, PARTS = 500, 20
#: Kinds of faults that every part of the seeds must have met; the others come in a few seeds only.
USUAL = {"crash", "lost reply", "lost request", "partition", "pause", "wrong type"}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(PARTS))
def test_seeds(part: int) -> None:
    """Every invariant of docs/invariants.md holds after each store call, and all comes to rest when faults stop."""
    done = Totals()
    size = SEEDS // PARTS
    for outcome in campaign(range(part * size, (part + 1) * size)):
        done.add(outcome)
        steps = "\n".join(outcome.trace[-60:])
        assert not outcome.broken, f"python -m tests.simulation --seed {outcome.seed}: {outcome.broken}\n{steps}"
    print(done.table(0.0))
    assert done.fewest_calls >= LEAST_CALLS
    assert done.tasks >= size * LEAST_TASKS
    assert done.faults.keys() >= USUAL


def test_a_seed_replays() -> None:
    """The same seed gives the same trace, step by step, also after others; another seed gives another."""
    first = {outcome.seed: outcome.digest for outcome in campaign([7, 8, 9], traced=True)}
    again = {outcome.seed: outcome.digest for outcome in campaign([9, 7], traced=True)}
    assert again == {seed: first[seed] for seed in again}
    assert len(set(first.values())) == 3


def test_a_restart_of_redis_replays() -> None:
    """A seed in which Redis itself is killed and started again is no exception."""
    first = next(outcome for outcome in campaign(range(40)) if "redis restart" in outcome.faults)
    digests = {one.digest for seed in [first.seed] * 2 for one in campaign([seed], traced=True)}
    assert len(digests) == 1
