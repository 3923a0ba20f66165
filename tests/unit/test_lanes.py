"""How a lane's slots are cut, and how its supervisors are shown as one row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofq.workers.fleet import Owner
from proofq.workers.lanes import merged
from proofq.workers.shares import Share, shares


@given(st.integers(0, 200), st.integers(1, 70))
def test_every_slot_is_one_supervisors(slots: int, supervisors: int) -> None:
    """Numbered through, none twice, none without a slot, and none with two more than another."""
    cut = shares(slots, supervisors)
    assert [slot for one in cut for slot in range(one.first, one.first + one.count)] == list(range(slots))
    assert len(cut) == min(slots, supervisors)
    counts = {one.count for one in cut}
    assert not counts or max(counts) - min(counts) <= 1


def test_one_supervisor_has_them_all() -> None:
    """The default."""
    assert shares(8, 1) == [Share(0, 8)]


def _owner(name: str, lane: str = "work", state: str = "ready", pid: int = 1, *tasks: str) -> Owner:
    return Owner(f"{name}-{state}", name, "h", pid, lane, state, 2, frozenset({"a"}), tasks, seen_s=float(len(tasks)))


def test_a_lane_is_one_row() -> None:
    """Slots and tasks are those of all of them, and who was seen last the longest ago is how the lane is seen."""
    rows = merged(
        [_owner("w", "meta"), _owner("w", "work", "ready", 1, "t2"), _owner("w", "work", "ready", 1, "t1", "t3")]
    )
    assert [(one.lane, one.slots, one.tasks, one.seen_s) for one in rows] == [
        ("meta", 2, (), 0.0),
        ("work", 4, ("t1", "t2", "t3"), 2.0),
    ]


@pytest.mark.parametrize("state", ["starting", "draining", "full", "suspended"])
def test_a_lane_is_ready_when_all_of_it_is(state: str) -> None:
    """Whichever of them says otherwise."""
    for owners in ([_owner("w"), _owner("w", state=state)], [_owner("w", state=state), _owner("w")]):
        assert [one.state for one in merged(owners)] == [state]


def test_who_is_lost_keeps_its_row() -> None:
    """What it held waits for somebody to take it over, whoever serves the lane by now; so does another launcher's."""
    owners = [_owner("w", state="dead"), _owner("w"), _owner("w", state="silent"), _owner("w", pid=2)]
    assert merged(owners) == owners
