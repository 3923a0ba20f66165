"""The response to every class of failure, and its exact bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofq.policies import settlement
from proofq.policies.classes import CLASSES, WAITS
from proofq.policies.failure import Failure
from proofq.policies.lifecycle import OWNED, TABLE, TERMINAL
from proofq.policies.settlement import Limits, TaskFacts

#: class -> (event of the first failure, whether it counts, event when its bound is reached).
RESPONSES = {
    "rate_limited": ("defer", False, "defer"),
    "overloaded": ("retry", True, "fail"),
    "network": ("retry", True, "fail"),
    "timeout": ("fail", True, "fail"),
    "stalled": ("fail", True, "fail"),
    "no_progress": ("quarantine", False, "quarantine"),
    "start_unconfirmed": ("retry", False, "quarantine"),
    "auth": ("hold", False, "hold"),
    "quota": ("hold", False, "hold"),
    "bad_input": ("fail", True, "fail"),
    "context_overflow": ("fail", True, "fail"),
    "malformed_output": ("retry", True, "fail"),
    "content_refused": ("fail", True, "fail"),
    "infrastructure": ("defer", False, "defer"),
    "resource": ("retry", True, "quarantine"),
    "crash": ("retry", True, "quarantine"),
    "lost_worker": ("requeue", False, "quarantine"),
    "unverified": ("retry", True, "quarantine"),
    "handoff_broken": ("hold", False, "hold"),
    "effect_unknown": ("hold", False, "hold"),
    "budget": ("hold", True, "hold"),
    "cancelled": ("cancel", False, "cancel"),
    "policy_error": ("quarantine", False, "quarantine"),
    "unknown": ("fail", True, "fail"),
}
FIRST = TaskFacts("running", 1, 0, 3)
SPENT = TaskFacts("running", 9, 2, 3, pickups=5, deaths=3)
FACTS = st.builds(
    TaskFacts, st.sampled_from(sorted(OWNED)), st.integers(1, 50), st.integers(0, 2), st.just(3), st.integers(0, 9),
    st.integers(0, 9), st.sampled_from(["", "f", "g"]), st.integers(0, 5), st.booleans(),
)  # fmt: skip
FAILURES = st.builds(
    Failure, st.sampled_from(sorted(CLASSES)), st.text(), retry_after_s=st.none() | st.floats(0, 1e6),
    fingerprint=st.sampled_from(["", "f", "g"]),
)  # fmt: skip
JITTER = st.floats(0, 1, exclude_max=True)


def event(kind: str, facts: TaskFacts, fingerprint: str = "") -> str:
    return settlement.decide(Failure(kind, "x", fingerprint=fingerprint), facts, Limits(), 0.5).event


def test_every_class_is_in_the_table() -> None:
    """None is forgotten here."""
    assert RESPONSES.keys() == CLASSES.keys()


@pytest.mark.parametrize("kind", sorted(RESPONSES))
def test_response(kind: str) -> None:
    """What the class asks for at first, whether it counts, and what it comes to when everything is spent."""
    first, counted, last = RESPONSES[kind]
    decision = settlement.decide(Failure(kind, "words"), FIRST, Limits(), 0.0)
    assert (decision.event, decision.counted) == (first, counted)
    assert decision.rule.startswith(f"{kind}.")
    assert "words" in decision.reason
    assert ("proofq replay" in decision.reason) == (kind in {"auth", "quota", "budget", "effect_unknown"})
    assert (decision.delay_s is not None) == (first in {"retry", "defer"})
    assert event(kind, SPENT) == last


@pytest.mark.parametrize("kind", [name for name, one in CLASSES.items() if one.bound == "attempts"])
def test_attempts_are_exact(kind: str) -> None:
    """Of three attempts the third is the last."""
    last = RESPONSES[kind][2]
    assert [event(kind, TaskFacts("running", n, n - 1, 3)) for n in (1, 2, 3)] == ["retry", "retry", last]
    assert event(kind, TaskFacts("running", 1, 0, 1)) == last


def test_deaths_and_pickups_are_exact() -> None:
    """The third death and the fifth pickup without a start take it out; a sixth never starts."""
    assert [event("lost_worker", TaskFacts("running", 1, 0, 3, deaths=n)) for n in (1, 2, 3)] == [
        "requeue", "requeue", "quarantine",
    ]  # fmt: skip
    assert [event("start_unconfirmed", TaskFacts("leased", 1, 0, 3, pickups=n)) for n in (4, 5)] == [
        "retry", "quarantine",
    ]  # fmt: skip
    assert settlement.too_many_pickups(TaskFacts("leased", 1, 0, 3, pickups=5), Limits()) is None
    stuck = settlement.too_many_pickups(TaskFacts("leased", 1, 0, 3, pickups=6), Limits())
    assert stuck is not None
    assert stuck.kind == "no_progress"
    assert [settlement.too_many_deaths(TaskFacts("running", 1, 0, 3, deaths=n), Limits()) for n in (2, 3)] == [
        False, True,
    ]  # fmt: skip


@pytest.mark.parametrize(("most", "suspects"), [(1, []), (2, [1]), (3, [2])])
def test_a_suspect_is_one_death_from_quarantine(most: int, suspects: list[int]) -> None:
    """Who was at no death is no suspect, however low the bound is."""
    facts = [TaskFacts("leased", 1, 0, 3, deaths=n) for n in range(5)]
    assert [one.deaths for one in facts if settlement.is_suspect(one, Limits(max_deaths=most))] == suspects


@pytest.mark.parametrize(
    ("state", "deaths", "on_trial", "charged"),
    [("leased", 0, False, True), ("leased", 2, False, False), ("leased", 2, True, True), ("running", 2, False, True)],
)
def test_who_waits_for_its_trial_is_not_charged(state: str, deaths: int, on_trial: bool, charged: bool) -> None:
    """Nothing of it had started when the worker died."""
    assert settlement.is_charged(TaskFacts(state, 1, 0, 3, deaths=deaths), on_trial, Limits()) is charged


def test_equal_crashes_are_exact() -> None:
    """The second crash of one fingerprint in a row; another one, or none, begins anew and is bounded by attempts."""
    once = TaskFacts("running", 2, 1, 5, fingerprint="f", equal_failures=1)
    assert event("crash", once, "f") == "quarantine"
    assert event("crash", once, "g") == event("crash", once, "") == "retry"
    assert event("crash", TaskFacts("running", 5, 4, 5), "g") == "quarantine"
    assert settlement.decide(Failure("crash", "x", fingerprint="g"), once, Limits(), 0.0).equal_failures == 1


def _waits(kind: str, wait: float | None, jitter: float = 0.5) -> settlement.Decision:
    return settlement.decide(Failure(kind, "x", retry_after_s=wait), FIRST, Limits(), jitter)


@pytest.mark.parametrize("kind", ["rate_limited", "quota", "overloaded"])
def test_a_wait_that_was_said_is_kept(kind: str) -> None:
    """Never earlier than said, and little later; up to max_wait_s, beyond which a human is asked."""
    event = "retry" if kind == "overloaded" else "defer"
    for jitter in (0.0, 0.5, 0.999):
        decision = _waits(kind, 120, jitter)
        assert (decision.event, decision.counted) == (event, kind == "overloaded")
        assert decision.delay_s is not None
        assert 120 <= decision.delay_s <= 121
    assert _waits(kind, 0).event == _waits(kind, 3600).event == event
    held = _waits(kind, 3600.5)
    assert (held.event, held.counted, held.rule, held.delay_s) == ("hold", False, f"{kind}.max_wait_s", None)
    assert all(word in held.reason for word in ("3600.5 s", "max_wait_s is 3600", "proofq replay"))
    shorter = Limits(max_wait_s=60)
    assert settlement.decide(Failure(kind, "x", retry_after_s=61), FIRST, shorter, 0.0).event == "hold"


def test_a_wait_that_nobody_said_is_our_own() -> None:
    """Without a time a rate limit backs off, credit is a human's business, and a wait changes no other class."""
    limited = [settlement.decide(Failure("rate_limited", "x"), TaskFacts("running", n, 0, 3), Limits(), 0.0).delay_s
               for n in (1, 2, 3, 9)]  # fmt: skip
    assert limited == [1.0, 2.0, 4.0, 60.0]
    assert (_waits("quota", None).event, _waits("quota", None).counted) == ("hold", False)
    assert (_waits("auth", 5).event, _waits("bad_input", 5).event, _waits("timeout", 1e6).event) == (
        "hold", "fail", "fail",
    )  # fmt: skip


def test_the_gate_counts_refusals_of_one_kind_and_heeds_a_cancel() -> None:
    """Four others in a row are no five of this one; whoever asked for a cancel does not wait at a gate."""
    refused = Failure("auth", "x", "provider", fingerprint="f")
    facts = TaskFacts("running", 9, 0, 3, fingerprint="f", equal_failures=4, gated=True)
    others = replace(facts, fingerprint="other")
    asked = replace(others, cancel=True)
    decided = [settlement.decide(refused, one, Limits(), 0.0) for one in (facts, others, asked)]
    assert [(one.event, one.rule) for one in decided] == [
        ("hold", "auth.hold"), ("requeue", "auth.gate"), ("cancel", "cancel.asked"),
    ]  # fmt: skip
    assert decided[1].equal_failures == 1


def test_a_spent_bound_beats_a_wait() -> None:
    """Whoever has no attempt left does not wait for another."""
    decision = settlement.decide(Failure("overloaded", "x", retry_after_s=9e4), SPENT, Limits(), 0.0)
    assert decision.event == "fail"


@given(FAILURES, FACTS, JITTER)
def test_decisions_are_legal_and_bounded(failure: Failure, facts: TaskFacts, jitter: float) -> None:
    """An event of the table (a claim's lost owner aside), with a delay only where it waits, never past its bounds."""
    decision = settlement.decide(failure, facts, Limits(), jitter)
    long = failure.retry_after_s is not None and failure.retry_after_s > Limits().max_wait_s
    to = TABLE.get((facts.state, decision.event))
    assert to is not None or (facts.state, decision.event) == ("claimed_done", "requeue")
    assert decision.counted == (CLASSES[failure.kind].counted and not decision.rule.endswith((".max_wait_s", ".defer")))
    assert not (long and failure.kind in WAITS and decision.event in {"retry", "defer"})
    assert (decision.delay_s is not None) == (decision.event in {"retry", "defer"})
    if decision.delay_s is not None:
        asked = failure.retry_after_s
        assert decision.delay_s >= (0.5 if asked is None else asked)
        assert decision.delay_s <= (60.0 if asked is None else 1.1 * asked + 1.0)
    if decision.event == "retry" and decision.counted:
        assert facts.counted + 1 < facts.max_attempts
    if facts.cancel:
        assert to in TERMINAL
