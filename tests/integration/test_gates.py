"""The gates of providers in a real Redis: who is let through, and what moves them."""

from __future__ import annotations

import json

import pytest
import redis

from proofq.policies import gate
from proofq.policies.gate import Told
from proofq.workers import keys
from proofq.workers.gate_change import Change
from proofq.workers.gates import Waits
from tests.gate_fleet import NAME, PROVIDER, Fleet


@pytest.fixture
def fleet(redis_client: redis.Redis) -> Fleet:
    """With a key that nobody has seen before."""
    return Fleet(redis_client)


def test_a_new_key_is_tried_by_one(fleet: Fleet) -> None:
    """Nobody else is let through until an answer came; then everybody, and the gate wants to hear of nothing."""
    probe = fleet.let_in()
    assert probe.probe
    fleet.is_waiting("probing")
    assert fleet.answers(probe) == Change(NAME, "probing", "recover", "open", "an answer came")
    plain = fleet.let_in()
    assert (plain.probe, plain.watched) == (False, False)
    assert fleet.events() == ["first", "probe", "recover"]


def test_a_probe_without_a_say_lets_the_next_one_try(fleet: Fleet) -> None:
    """An end that tells nothing of the provider frees the probe at once, and the gate goes on asking for one."""
    fleet.tell(fleet.let_in(), Told("nothing"))
    assert fleet.let_in().probe


def test_a_probe_whose_lease_is_gone_is_no_probe(fleet: Fleet) -> None:
    """Its worker was killed and its lease reaped: the next one may try at once; what the dead one says late is void."""
    dead = fleet.let_in()
    fleet.is_waiting("probing")
    fleet.client.delete(keys.leases("o"))
    second = fleet.let_in()
    assert second.probe
    assert fleet.answers(dead) is None
    assert fleet.now().state == "probing"
    assert fleet.answers(second) is not None


def test_a_probe_that_hangs_keeps_nobody_waiting_for_ever(fleet: Fleet) -> None:
    """After probe_s another one may try."""
    fleet.let_in()
    waits = fleet.is_waiting("probing")
    assert waits.until == fleet.clock.now + 60_000
    fleet.clock.after(60)
    assert fleet.let_in().probe


def test_a_wait_that_was_said_is_the_fleets(fleet: Fleet) -> None:
    """Nothing is let through until then; the longest of those that were said counts, however late it is told."""
    fleet.opened()
    first, second, third = fleet.let_in(), fleet.let_in(), fleet.let_in()
    assert fleet.fails("rate_limited", first, 10) is not None
    assert fleet.fails("rate_limited", second, 30) is not None
    assert fleet.fails("rate_limited", third, 5) is None
    assert fleet.is_waiting("cooling").until == fleet.clock.now + 30_000
    fleet.clock.after(29.999)
    fleet.is_waiting("cooling")
    fleet.clock.after(0.001)
    assert not fleet.let_in().probe
    assert fleet.events()[-3:] == ["cool", "cool", "release"]


def test_the_wait_of_a_key_that_never_answered_ends_in_a_probe(fleet: Fleet) -> None:
    """Slow down is no answer yet: after it one tries again."""
    fleet.fails("rate_limited", None, 2)
    fleet.clock.after(2)
    assert fleet.let_in().probe


def test_own_waits_grow_and_begin_anew_after_an_answer(fleet: Fleet) -> None:
    """Without a time: 2, 4, 8 s; those in flight at once count once; an answer in between, and it is 2 s again."""
    fleet.opened()

    def cooled_for() -> float:
        one, other = fleet.let_in(), fleet.let_in()
        fleet.fails("rate_limited", one)
        assert fleet.fails("rate_limited", other) is None
        until = fleet.is_waiting("cooling").until
        assert until is not None
        taken = until - fleet.clock.now
        fleet.clock.now = until
        fleet.let_in()
        fleet.clock.after(9)
        return taken / 1000

    assert [cooled_for() for _ in range(3)] == [2, 4, 8]
    released = fleet.let_in()
    assert released.watched
    fleet.answers(released)
    assert cooled_for() == 2


def test_what_waited_is_let_out_bit_by_bit(fleet: Fleet) -> None:
    """A call each second where nobody counted how many wait; after eight seconds as many as there are."""
    fleet.opened()
    fleet.fails("rate_limited", None, 30)
    fleet.clock.after(30)
    fleet.let_in()
    assert fleet.is_waiting("open").until == fleet.clock.now + 1000
    fleet.clock.after(8)
    assert [fleet.let_in().gate for _ in range(5)] == [NAME] * 5


@pytest.mark.parametrize("answers", [0, 3])
def test_it_trips_on_the_rate_of_failures(fleet: Fleet, answers: int) -> None:
    """Not before min_calls were watched, nor below failure_rate; once tripped nobody is let through for cooldown_s."""
    fleet.opened()
    fleet.fails("overloaded")
    for _ in range(answers):
        watched = fleet.let_in()
        assert watched.watched
        fleet.answers(watched)
    changes = [fleet.fails(kind) for kind in ["network", "timeout", "overloaded"][: 2 if answers else 3]]
    assert [change is not None and change.event for change in changes][-1] == "trip"
    assert [change for change in changes[:-1] if change] == []
    assert fleet.is_waiting("tripped").until == fleet.clock.now + 30_000


def test_while_all_fails_who_is_in_flight_is_heard_first(fleet: Fleet) -> None:
    """After a second failure without an answer in between nothing is sent for a quarter of a second."""
    fleet.opened()
    fleet.fails("overloaded")
    fleet.let_in()
    fleet.fails("overloaded")
    assert fleet.is_waiting("open").until == fleet.clock.now + 250
    fleet.clock.after(0.25)
    fleet.let_in()


def test_old_failures_leave_the_window(fleet: Fleet) -> None:
    """Three failures, a window later three more: no four of them are in one window."""
    fleet.opened()
    for _ in range(2):
        for _ in range(3):
            assert fleet.fails("overloaded") is None
        fleet.clock.after(61)
    assert fleet.now().state == "open"
    assert not fleet.let_in().watched


@pytest.mark.parametrize("kind", ["rate_limited", "auth", "bad_input", "content_refused", "crash", "stalled", "quota"])
def test_what_is_no_brownout_never_trips(fleet: Fleet, kind: str) -> None:
    """However often: a refusal, a bad input or a crash says nothing of a failing provider."""
    fleet.opened()
    admitted = [fleet.let_in() for _ in range(20)]
    for one in admitted:
        fleet.fails(kind, one, 1.0 if kind == "rate_limited" else None)
    assert "trip" not in fleet.events()


def _tripped(fleet: Fleet) -> None:
    fleet.opened()
    for one in [fleet.let_in() for _ in range(4)]:
        fleet.fails("overloaded", one)
    assert fleet.now().state == "tripped"


def test_one_probe_for_each_cool_down(fleet: Fleet) -> None:
    """It fails: tripped for as long again; it is answered: open for all, with nothing left of the window."""
    _tripped(fleet)
    for _ in range(3):
        fleet.clock.after(30)
        probe = fleet.let_in()
        fleet.is_waiting("probing")
        assert fleet.fails("overloaded", probe) is not None
        fleet.is_waiting("tripped")
    fleet.clock.after(30)
    fleet.answers(fleet.let_in())
    assert not fleet.let_in().watched
    assert fleet.events()[-8:] == ["probe", "trip"] * 3 + ["probe", "recover"]


def test_who_was_let_through_in_another_epoch_is_not_heard(fleet: Fleet) -> None:
    """What began before the gate tripped neither opens it, nor trips it once more, when it ends at last."""
    fleet.opened()
    late = [fleet.let_in() for _ in range(4)]
    for one in [fleet.let_in() for _ in range(4)]:
        fleet.fails("overloaded", one)
    assert fleet.answers(late[0]) is None
    fleet.clock.after(30)
    probe = fleet.let_in()
    assert fleet.answers(late[1]) is None
    assert fleet.now().state == "probing"
    fleet.answers(probe)
    assert fleet.fails("overloaded", late[2]) is None
    assert fleet.fails("auth", late[3]) is None
    assert fleet.now().state == "open"


@pytest.mark.parametrize("kind", ["auth", "quota"])
@pytest.mark.parametrize("worked", [True, False])
def test_a_refused_key_is_confirmed_and_held(fleet: Fleet, kind: str, worked: bool) -> None:
    """One failure, and only a probe is let through; it says the same: held, once, whatever those in flight say."""
    if worked:
        fleet.opened()
        flight = [fleet.let_in() for _ in range(32)]
        changes = [fleet.fails(kind, one) for one in flight]
        assert [change.event for change in changes if change] == ["suspect"]
    else:
        assert fleet.fails(kind) is not None
    held = fleet.fails(kind)
    assert held is not None
    assert (held.event, held.to) == ("hold", "held")
    assert fleet.is_waiting("held").until is None
    fleet.clock.after(86_400)
    fleet.is_waiting("held")
    assert fleet.now().suspect == ("refused" if kind == "auth" else "spent")


def test_a_suspicion_that_a_probe_does_not_confirm_is_none(fleet: Fleet) -> None:
    """The next one is answered: open again, and the next refusal is a first one."""
    fleet.opened()
    fleet.fails("auth")
    fleet.answers()
    change = fleet.fails("auth")
    assert change is not None
    assert change.to == "probing"


def test_quota_with_a_time_cools(fleet: Fleet) -> None:
    """A plan's window is a wait; one that nobody would live to see is held."""
    fleet.opened()
    fleet.fails("quota", None, 18_000)
    assert fleet.is_waiting("cooling").until == fleet.clock.now + 18_000_000
    fleet.clock.after(18_010)
    fleet.fails("quota", None, 10**8)
    change = fleet.fails("quota", None, 10**8)
    assert change is not None
    assert change.to == "held"


def test_a_call_of_the_probe_is_the_probe(fleet: Fleet) -> None:
    """Of the attempt that was let through as the probe one call is the probe; another one waits for it."""
    fleet.client.hset(keys.leases("o"), "t", "1-f")
    attempt = fleet.let_in("o t 1-f")
    call = fleet.let_in("o t 1-f 1")
    assert call.probe
    assert isinstance(fleet.admit("o t 1-f 2"), Waits)
    fleet.is_waiting("probing")
    assert fleet.tell(attempt, Told("nothing")) is None
    assert fleet.answers(call) is not None


def test_a_told_end_sent_again_counts_once(fleet: Fleet) -> None:
    """The reply of a failure was lost: told again under the same request it is one failure."""
    fleet.opened()
    for _ in range(3):
        fleet.clock.after(gate.HARK_S)
        admission = fleet.let_in()
        plan = gate.plan(Told("failed"), admission, PROVIDER, 0.0)
        text = json.dumps(plan)
        request = fleet.clock.token()
        assert [fleet.store.call("gate", "tell", NAME, "t", request, text) for _ in range(3)] == [[b"done", b""]] * 3
    assert fleet.now().state == "open"
