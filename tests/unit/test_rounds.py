"""A long list in short pieces."""

from __future__ import annotations

import math

import pytest

from proofq.workers.rounds import Rounds


@pytest.mark.parametrize("count", [1, 5, 6, 64, 65, 400])
def test_all_come_once_in_a_round(count: int) -> None:
    """Each item once in every `every_s` seconds, in pieces of no more than was asked, whatever the number of pieces."""
    rounds, pieces = Rounds(range(count), 64, 5.0), math.ceil(count / 64)
    for turn in range(3):
        found = [rounds.due((turn * pieces + piece) * 5.01 / pieces) for piece in range(pieces)]
        assert max(map(len, found)) <= 64
        assert [item for piece in found for item in piece] == list(range(count))


def test_nothing_before_its_time() -> None:
    """The first piece comes at once, the next after its pause; nothing ever comes of an empty list."""
    rounds = Rounds(["a"], 64, 5.0)
    assert [rounds.due(at) for at in (0.0, 4.9, 5.0)] == [["a"], [], ["a"]]
    assert Rounds([], 64, 5.0).due(0.0) == []
