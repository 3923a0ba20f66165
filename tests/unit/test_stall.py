"""When a watched attempt counts as stalled, and when to look at it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proofq.policies import stall
from proofq.policies.stall import LATE_S, Transcripts

NONE: Transcripts = frozenset()
ONE: Transcripts = frozenset({("a", 5, 100)})


def test_silence() -> None:
    """Without any evidence it is stalled `stall_after_s` after its start, and not before."""
    watch = stall.begin(10, NONE, 100)
    assert watch.due_s == 110
    assert stall.look(stall.heard(watch, 0), NONE, 109.9) == watch
    assert stall.look(stall.heard(watch, 0), NONE, 110) is None


def test_what_was_heard_moves_the_time_to_look() -> None:
    """The time counts from the last word; an older one changes nothing."""
    watch = stall.heard(stall.begin(10, NONE, 100), 104)
    assert watch.due_s == 114
    assert stall.heard(watch, 99) == watch
    assert stall.look(watch, NONE, 114) is None


def test_transcripts() -> None:
    """A file that came, grew, shrank, went or was written again is evidence; one that was there before is not."""
    watch = stall.begin(10, ONE, 100)
    assert stall.look(watch, ONE, 110) is None
    for now in (NONE, frozenset({("a", 6, 100)}), frozenset({("a", 4, 100)}), frozenset({("a", 5, 101)})):
        seen = stall.look(watch, now, 110.5)
        assert seen is not None
        assert (seen.due_s, seen.transcripts) == (120.5, now)
        assert stall.look(seen, now, 120.5) is None


def test_a_watch_that_stood_still_judges_nothing() -> None:
    """Whoever looks far too late was stopped, and the agent perhaps with it: it begins anew."""
    watch = stall.begin(10, NONE, 100)
    assert stall.look(watch, NONE, 110 + LATE_S) is None
    seen = stall.look(watch, NONE, 110 + LATE_S + 0.1)
    assert seen is not None
    assert seen.since_s == 110 + LATE_S + 0.1


@given(st.floats(0.01, 1e6), st.lists(st.floats(0, 1e6), max_size=10), st.floats(0, 1e6))
def test_never_before_its_time(stall_after_s: float, heard: list[float], now_s: float) -> None:
    """Whatever was heard, nobody is stalled within `stall_after_s` of the last word or the start."""
    watch = stall.begin(stall_after_s, NONE, 0)
    for one in heard:
        watch = stall.heard(watch, one)
    if stall.look(watch, NONE, now_s) is None:
        assert now_s - max([0.0, *heard]) >= stall_after_s * (1 - 1e-9) - 1e-6
