"""Who stops first when nobody hears from the other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proofq.policies import isolation
from proofq.policies.isolation import CALL_TIMEOUT_S, MAX_BACKOFF_S, STEP_BACK_S, TICK_S, Contact

ISOLATION = st.floats(STEP_BACK_S + 1, 3600)


@given(ISOLATION, st.floats(0, 7200))
def test_the_owner_stops_before_anybody_takes(isolation_s: float, silent_s: float) -> None:
    """Whenever its leases could be taken, it has had ten seconds to end its agents."""
    if silent_s >= isolation_s - STEP_BACK_S:
        assert isolation.must_step_back(silent_s, isolation_s)
    else:
        assert not isolation.must_step_back(silent_s, isolation_s)


@given(ISOLATION)
def test_four_beats_before_the_step_back(isolation_s: float) -> None:
    """Three lost beats in a row do not yet cost it its work."""
    every_s = isolation.beat_every_s(isolation_s)
    assert 0 < every_s <= TICK_S
    assert 4 * every_s <= isolation_s - STEP_BACK_S + 1e-9


def test_a_reaper_holds_off_after_its_own_gap() -> None:
    """Its first look reaps nobody; only looks without a gap for a beat, a backoff and a lost call do."""
    wait_s = TICK_S + MAX_BACKOFF_S + CALL_TIMEOUT_S
    assert wait_s == 4.0
    contact = isolation.seen(None, 100.0, 5000.0)
    assert not isolation.may_reap_the_silent(contact)
    for now_s in (101.0, 102.0, 103.0, 103.9):
        contact = isolation.seen(contact, now_s, 4900.0 + now_s)
        assert not isolation.may_reap_the_silent(contact)
    contact = isolation.seen(contact, 104.0, 5004.0)
    assert isolation.may_reap_the_silent(contact)
    assert not isolation.may_reap_the_silent(isolation.seen(contact, 106.1, 5006.1))
    assert isolation.may_reap_the_silent(isolation.seen(contact, 106.0, 5006.0))


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30))
def test_contact_is_steady_since_the_last_gap(gaps: list[float]) -> None:
    """Steady since the look after the last gap of more than two ticks, whatever came before."""
    now_s, since_s = 0.0, 0.0
    contact = isolation.seen(None, now_s, now_s)
    for gap in gaps:
        before_s, now_s = now_s, now_s + gap
        if now_s - before_s > 2 * TICK_S:
            since_s = now_s
        contact = isolation.seen(contact, now_s, now_s)
    assert contact == Contact(now_s, since_s, now_s)


def test_a_reaper_holds_off_after_a_step_of_the_servers_clock() -> None:
    """A clock set ahead makes every owner look silent: nobody is reaped until all had the time to beat again. One that
    goes back, or drifts, takes no lease from anybody and changes nothing."""
    steady = Contact(last_s=110.0, steady_since_s=100.0, server_s=5010.0)
    assert isolation.may_reap_the_silent(isolation.seen(steady, 111.0, 5011.5))
    assert isolation.may_reap_the_silent(isolation.seen(steady, 111.0, 1000.0))
    contact = isolation.seen(steady, 111.0, 5111.0)
    for second in (0.0, 1.0, 2.0, 3.0):
        contact = isolation.seen(contact, 111.0 + second, 5111.0 + second)
        assert not isolation.may_reap_the_silent(contact)
    assert isolation.may_reap_the_silent(isolation.seen(contact, 115.0, 5115.0))
