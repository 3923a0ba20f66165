"""What an end tells a gate, and the numbers and names it is told by."""

from __future__ import annotations

import pytest

from proofq.policies import breaker, gate, gate_words
from proofq.policies.agent import Provider
from proofq.policies.classes import CLASSES
from proofq.policies.failure import Failure
from proofq.policies.gate import Admission, Told
from proofq.policies.gate_words import Shut

PROVIDER = Provider("p")
PLAIN = Admission("p:k", 3)


@pytest.mark.parametrize(
    ("kind", "source", "wait_s", "told"),
    [
        ("rate_limited", "provider", 7.0, "limited"),
        ("rate_limited", "provider", None, "limited"),
        ("rate_limited", "host", 7.0, "nothing"),
        ("quota", "provider", 7.0, "limited"),
        ("quota", "provider", None, "spent"),
        ("auth", "provider", None, "refused"),
        ("overloaded", "provider", None, "failed"),
        ("overloaded", "host", None, "nothing"),
        ("network", "provider", None, "failed"),
        ("timeout", "provider", None, "failed"),
        ("timeout", "task", None, "nothing"),
        ("content_refused", "task", None, "answered"),
        ("context_overflow", "task", None, "answered"),
    ],
)
def test_what_a_failure_tells(kind: str, source: str, wait_s: float | None, told: str) -> None:
    """The class says it, and who is to blame: a closed gate and a deadline of ours say nothing of the provider."""
    assert gate.told_by(Failure(kind, "r", source, retry_after_s=wait_s)).kind == told


def test_every_other_class_says_nothing() -> None:
    """A bug, a bad input, a lost worker: the gate hears of it only where it was the probe."""
    speaking = {"rate_limited", "quota", "auth", "overloaded", "network", "timeout", *("content_refused",)}
    for kind in CLASSES.keys() - speaking - {"context_overflow"}:
        assert gate.told_by(Failure(kind, "r", "provider")) == Told("nothing")


def test_a_success_is_told_where_somebody_asks() -> None:
    """Not while the gate is plainly open; a probe tells even that it has nothing to say."""
    watched, probe = Admission("p:k", 3, watched=True), Admission("p:k", 3, probe=True)
    answered, nothing = gate.told_by(None, answered=True), gate.told_by(None)
    told = [gate.is_worth_telling(one, let_in) for one in (answered, nothing) for let_in in (PLAIN, watched, probe)]
    assert told == [False, True, True, False, False, True]
    assert gate.is_worth_telling(Told("failed"), PLAIN)


def test_a_wait_is_never_shorter_than_was_said() -> None:
    """A tenth more at most, a second at most; beyond a week and a day nobody waits, and a human is called."""
    waits = [gate.plan(Told("limited", "r", 30.0), PLAIN, PROVIDER, jitter)["wait"] for jitter in (0.0, 0.99)]
    assert waits == [30_000, 30_990]
    short = gate.plan(Told("limited", "r", 1.0), PLAIN, PROVIDER, 0.99)["wait"]
    assert short == 1099
    long = gate.plan(Told("limited", "r", 9 * 86_400.0), PLAIN, PROVIDER, 0.0)
    assert long["kind"] == "spent"
    assert "wait" not in long


def test_nobody_trips_a_gate_for_longer_than_it_may_cool() -> None:
    """A server that is overloaded and speaks of years is asked again after eight days; a refusal says no wait."""
    said = gate.plan(Told("failed", "r", 1e9), PLAIN, PROVIDER, 0.0)
    assert (said["kind"], said["wait"]) == ("failed", 8 * 86_400_000)
    waits = [
        gate.told_by(Failure(kind, "r", "provider", retry_after_s=9.0)).wait_s for kind in ("overloaded", "network")
    ]
    assert waits == [9.0, None]


def test_own_waits_double_up_to_two_minutes() -> None:
    """One for each time in a row that nobody said how long; chance takes half of it off at most."""
    assert gate.plan(Told("limited"), PLAIN, PROVIDER, 0.0)["own"] == [
        2000, 4000, 8000, 16_000, 32_000, 64_000, 120_000,
    ]  # fmt: skip
    assert gate.plan(Told("limited"), PLAIN, PROVIDER, 1.0)["own"] == [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000]


def test_thresholds_as_numbers() -> None:
    """Milliseconds and whole per cents, the window in ten pieces; the cool-down is never shorter than declared."""
    provider = Provider("p", cooldown_s=4, min_calls=7, window_s=20, failure_rate=0.25)
    assert breaker.numbers(provider, 0.0) == {
        "cooldown": 4000, "piece": 2000, "pieces": 10, "min_calls": 7, "rate": 25,
    }  # fmt: skip
    assert breaker.numbers(provider, 1.0)["cooldown"] == 4200


def test_slow_calls_count_where_somebody_says_so() -> None:
    """Without slow_call_s no call is slow."""
    assert not breaker.is_slow(1e6, PROVIDER.slow_call_s)
    assert [breaker.is_slow(took_s, 2.0) for took_s in (2.0, 2.1)] == [False, True]


def test_a_fingerprint_tells_keys_apart_and_nothing_of_them() -> None:
    """Twelve hex digits; of no key a word."""
    prints = {gate.fingerprint(key) for key in ("a", "b", "\udcff", "a" * 1000)}
    assert len(prints) == 4
    assert all(len(one) == 12 and int(one, 16) >= 0 for one in prints)
    assert gate.fingerprint("") == gate.NO_KEY
    name = gate.name("open-ai_2", gate.fingerprint("a"))
    assert (gate.provider_of(name), gate.key_of(name)) == ("open-ai_2", gate.fingerprint("a"))


def test_the_table_explains_itself() -> None:
    """Every event and every state has its meaning, and every state can be left."""
    assert {event for _, event in gate.TABLE} == gate.EVENTS.keys()
    assert set(gate.TABLE.values()) == gate.STATES.keys()
    assert {state for state, event in gate.TABLE if gate.TABLE[state, event] != state} - {None} == gate.STATES.keys()


@pytest.mark.parametrize(
    ("state", "seen", "then"),
    [
        (gate.COOLING, "cools until 12:00: why", "until 12:00; what waited is then let out bit by bit"),
        (gate.TRIPPED, "is tripped since 11:00: why", "at 12:00 one task tries whether the provider answers again"),
        (gate.PROBING, "lets one through at a time since 11:00: why", "task t7 tries it, and the others follow"),
        (gate.HELD, "is held since 11:00: why", "`proofq gate open p`), or workers are started with another key"),
        (gate.ISOLATED, "is isolated since 11:00: why", "somebody opens it (`proofq gate open p`)"),
        ("damaged", "is damaged: why", "`proofq gate list`"),
    ],
)
def test_what_waits_at_a_gate_is_told_why_and_what_opens_it(state: str, seen: str, then: str) -> None:
    """For every state that lets nobody through: the reason, since when or until when, and what somebody may do."""
    said = gate_words.waiting(Shut("p", "k", state, "why.", "11:00", "12:00", "t7"))
    assert said[0] == f"The gate of p (key k) {seen}."
    assert then in said[1]


def test_what_a_gate_says_of_who_tries_and_who_opens() -> None:
    """The probe by name, where there is one; another key helps only where there is a key."""
    probing = Shut("p", "f00d", gate.PROBING, probe="t1")
    assert gate_words.waiting(probing)[1].startswith("task t1 tries it")
    assert gate_words.waiting(Shut("p", "f00d", gate.PROBING))[1].startswith("one task may try it")
    held = [gate_words.waiting(Shut("p", key, gate.HELD))[1] for key in ("f00d", gate.NO_KEY)]
    assert ["another key" in said for said in held] == [True, False]
    assert all("`proofq gate open p`" in said for said in held)
