"""The failure value: what crosses a process border is read back strictly."""

from __future__ import annotations

import pytest

from proofq.policies.failure import Failure


def test_survives_the_way_through_a_dict():
    """What `to_dict` writes is read back equal."""
    failure = Failure("timeout", "too slow", "provider", "run", 2.5, "abc")
    assert Failure.from_dict(failure.to_dict()) == failure
    assert failure.retry_after == 2.5


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "odd"},
        {"kind": None},
        {"reason": 3},
        {"source": "moon"},
        {"phase": "lunch"},
        {"retry_after_s": -1},
        {"retry_after_s": True},
        {"retry_after_s": float("nan")},
        {"fingerprint": 7},
    ],
)
def test_refuses_what_a_child_might_have_made_up(change):
    """A field outside its words or types is a ValueError, never a half-read failure."""
    with pytest.raises(ValueError, match=r"."):
        Failure.from_dict({"kind": "crash", "reason": "x"} | change)
