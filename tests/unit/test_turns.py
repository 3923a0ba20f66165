"""What an attempt takes of a slot, as a worker has seen it, and what it tells the lease step."""

from __future__ import annotations

import pytest

from proofq.policies import declaration
from proofq.policies.agent import DeclarationProblem
from proofq.policies.turns import MIN_S, Seen
from proofq.workers.turns import Place, Turns


def test_what_is_typical_follows_what_has_ended() -> None:
    """Unknown before the first end; then the ends, the newest most, and never next to nothing."""
    seen = Seen().begins(10.0)
    assert seen.cost_us(15.0) == 0
    seen = seen.ends(10.0, 12.0)
    assert seen == Seen(2.0)
    assert seen.cost_us(99.0) == 2_000_000
    for _ in range(50):
        seen = seen.begins(0.0).ends(0.0, 0.0)
    assert seen.cost_us(0.0) == round(1e6 * MIN_S)


def test_who_runs_longer_than_is_typical_costs_as_much() -> None:
    """By the mean of those that run, so that one straggler of many says little."""
    seen = Seen(0.1).begins(0.0)
    assert seen.cost_us(30.0) == 30_000_000
    for _ in range(9):
        seen = seen.begins(30.0)
    assert seen.cost_us(30.0) == 3_000_000


def test_a_worker_says_what_it_knows_with_each_wish() -> None:
    """Of all queues, from a place by chance on; what has just ended, and what runs for too long."""
    turns = Turns([Place("work.a", weight=3), Place("work.b", "p:k", 1, "agent:b 1 0 0")])
    assert turns.asked(0.0, 0.0) == ["work.a - 3:0", "work.b p:k 1:0 agent:b 1 0 0"]
    turns.began("work.a", 1.0)
    turns.ended("work.a", 1.0, 3.0)
    assert turns.asked(0.6, 3.0) == ["work.b p:k 1:0 agent:b 1 0 0", "work.a - 3:2000000"]
    turns.began("work.a", 3.0)
    assert turns.asked(0.0, 13.0)[0] == "work.a - 3:10000000"
    turns.ended("work.elsewhere", 0.0, 1.0)
    assert not Turns([])


@pytest.mark.parametrize("weight", [0, -1, 1.5, True, 1001, "2"])
def test_a_weight_is_a_whole_number(weight: object) -> None:
    """From 1 on, 1 where nobody says so."""
    said = {"name": "a", "command": ["true"], "unproven": True}
    assert declaration.check(said, "t").weight == 1
    with pytest.raises(DeclarationProblem, match="weight"):
        declaration.check({**said, "weight": weight}, "t")
