"""What a gate keeps of the past, and what it leaves behind: waits, windows, suspicions, ramps, and who is rung."""

from __future__ import annotations

import pytest
import redis

from proofq.policies.gate import Told
from proofq.workers import gates, keys
from tests.gate_fleet import NAME, Fleet


@pytest.fixture
def fleet(redis_client: redis.Redis) -> Fleet:
    """With a key that nobody has seen before."""
    return Fleet(redis_client)


def test_a_slow_down_of_a_tripped_gate_ends_no_sooner_than_its_cool_down(fleet: Fleet) -> None:
    """Who was in flight is told to wait for five seconds: the other twenty-five stay."""
    fleet.opened()
    late = fleet.let_in()
    for one in [fleet.let_in() for _ in range(4)]:
        fleet.fails("overloaded", one)
    assert fleet.fails("rate_limited", late, 5) is not None
    assert fleet.is_waiting("cooling").until == fleet.clock.now + 30_000


def test_waits_that_overlap_count_once(fleet: Fleet) -> None:
    """Two in flight, told 10 and 30 s: one slow-down, so that the next wait of our own is the second, of 4 s."""
    fleet.opened()
    one, other = fleet.let_in(), fleet.let_in()
    fleet.fails("rate_limited", one, 10)
    fleet.fails("rate_limited", other, 30)
    fleet.clock.after(30)
    fleet.fails("rate_limited", fleet.let_in())
    assert fleet.is_waiting("cooling").until == fleet.clock.now + 4000


def test_a_trip_ends_a_suspicion(fleet: Fleet) -> None:
    """Refused, then failing: the refusal after that is a first one again."""
    fleet.opened()
    fleet.fails("auth")
    fleet.fails("overloaded")
    fleet.clock.after(30)
    change = fleet.fails("auth")
    assert change is not None
    assert change.event == "suspect"


def test_a_recovery_leaves_nothing_behind(fleet: Fleet) -> None:
    """Neither waits of our own that grew, nor a window, nor a ramp: everybody at once, and nobody is watched."""
    fleet.fails("rate_limited")
    fleet.clock.after(2)
    fleet.answers()
    assert not fleet.let_in().watched
    fleet.fails("rate_limited", fleet.let_in())
    assert fleet.is_waiting("cooling").until == fleet.clock.now + 2000
    fleet.clock.after(2)
    fleet.fails("auth", fleet.let_in())
    fleet.answers()
    assert [fleet.let_in().watched for _ in range(3)] == [False] * 3


def test_an_answer_proves_a_key_that_was_opened_by_hand(fleet: Fleet) -> None:
    """Until then the gate wants to hear of one; afterwards its waits end without a probe."""
    gates.act(fleet.store, "hold", "p", "ann", "")
    gates.act(fleet.store, "open", "p", "ann", "")
    first = fleet.let_in()
    assert (first.probe, first.watched) == (False, True)
    fleet.answers(first)
    assert not fleet.let_in().watched
    fleet.fails("rate_limited", fleet.let_in(), 2)
    fleet.clock.after(2)
    assert not fleet.let_in().probe


@pytest.mark.parametrize("verb", ["hold", "isolate"])
def test_what_a_human_closed_only_a_human_opens(fleet: Fleet, verb: str) -> None:
    """Whatever those in flight say, late waits included."""
    fleet.opened()
    late = [fleet.let_in() for _ in range(4)]
    (closed,) = gates.act(fleet.store, verb, "p", "ann", "")  # type: ignore[arg-type]
    for kind, one in zip(("rate_limited", "overloaded", "auth"), late, strict=False):
        assert fleet.fails(kind, one, 30.0 if kind == "rate_limited" else None) is None
    fleet.answers(late[3])
    assert fleet.now() == closed


def test_a_failure_beside_answers_keeps_nobody_waiting(fleet: Fleet) -> None:
    """Only while all that was watched has failed are those in flight heard first."""
    fleet.opened()
    fleet.fails("overloaded")
    fleet.answers()
    fleet.fails("overloaded", fleet.let_in())
    fleet.let_in()


def test_failures_of_those_let_out_do_not_let_out_the_rest(fleet: Fleet) -> None:
    """The quarter of a second in which others are heard is no end of the ramp."""
    fleet.opened()
    fleet.fails("rate_limited", None, 2)
    fleet.clock.after(2)
    first = fleet.let_in()
    fleet.clock.after(1)
    for one in (first, fleet.let_in()):
        fleet.fails("overloaded", one)
    fleet.clock.after(0.3)
    fleet.is_waiting("open")


@pytest.mark.parametrize(("pieces", "trips"), [(9, True), (10, False)])
def test_the_window_has_ten_pieces(fleet: Fleet, pieces: int, trips: bool) -> None:
    """What failed nine pieces ago counts, and ten pieces ago no more."""
    fleet.opened()
    fleet.clock.now = 6000 * 200_000
    for one in [fleet.let_in() for _ in range(3)]:
        fleet.fails("overloaded", one)
    fleet.clock.now += pieces * 6000
    change = fleet.fails("overloaded", fleet.let_in())
    assert (change is not None) is trips


def test_a_clock_that_goes_back_counts_nothing_twice_and_keeps_nobody_waiting(fleet: Fleet) -> None:
    """Another server, two minutes behind: failures of its future are not in the window, and a ramp does not last."""
    fleet.opened()
    for one in [fleet.let_in() for _ in range(3)]:
        fleet.fails("overloaded", one)
    fleet.clock.after(-120)
    assert fleet.fails("overloaded", fleet.let_in()) is None
    fleet.fails("rate_limited", fleet.let_in(), 2)
    fleet.clock.after(2)
    fleet.let_in()
    fleet.clock.after(-120)
    fleet.let_in()
    fleet.let_in()


def test_who_waits_is_rung(fleet: Fleet) -> None:
    """By an answer of the probe, a probe without a say, a suspicion, and whoever opens it by hand."""
    with fleet.client.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(keys.BELL)

        def rung() -> int:
            fleet.client.publish(keys.BELL, "end")
            names = []
            while (message := heard.get_message(timeout=10.0)) is None or message["data"] != b"end":
                names += [message["data"]] if message else []
            assert set(names) <= {NAME.encode()}
            return len(names)

        fleet.tell(fleet.let_in(), Told("nothing"))
        assert rung() == 1
        fleet.answers()
        assert rung() == 1
        fleet.fails("auth")
        assert rung() == 1
        gates.act(fleet.store, "open", "p", "ann", "")
        assert rung() == 1
