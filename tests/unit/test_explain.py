"""Explanations: every state, every class, every rule that a decision can name has its words."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from proofq.policies import classes, explain, lifecycle, rule_words, settlement
from proofq.policies.explain import Story
from proofq.policies.failure import Failure
from proofq.policies.settlement import Limits, TaskFacts

#: Events that lead to each state.
EVENTS = {
    state: sorted({event for (_, event), to in lifecycle.TABLE.items() if to == state}) for state in lifecycle.STATES
}
STATES_AND_EVENTS = [(state, event) for state, events in EVENTS.items() for event in events]
#: States in which a failure stands.
FAILED_STATES = sorted(lifecycle.FIELDS["failure"])


def _story(state: str, event: str, **more: object) -> Story:
    story = Story(
        id="t1",
        agent="note",
        state=state,
        attempt=2,
        counted=1,
        max_attempts=3,
        event=event,
        at="2026-11-21T10:00:00.000Z",
        who="cli:ann@host",
        reason="some reason",
        rule=event,
        worker="w1",
        host="h1",
        not_before="2026-11-21T10:01:00.000Z",
        expires_at="2026-11-22T10:00:00.000Z",
        max_age_s=86400,
    )
    return dataclasses.replace(story, **more)  # type: ignore[arg-type]


def _decisions() -> dict[str, tuple[str, settlement.Decision]]:
    """Every rule that `settlement.decide` can name -> the class and a decision that named it."""
    found = {}
    for name, spent, cancel in itertools.product(classes.CLASSES, (False, True), (False, True)):
        many = 9 if spent else 0
        facts = TaskFacts("running", 1, many, 3, many, many, "x", many, cancel)
        decision = settlement.decide(Failure(name, "why", fingerprint="x"), facts, Limits(), 0.0)
        found[decision.rule] = (name, decision)
    for name in classes.CLASSES:
        facts = TaskFacts("running", 3, 2, 3)
        decision = settlement.decide(Failure(name, "why"), facts, Limits(max_equal_crashes=9), 0.0)
        found[decision.rule] = (name, decision)
        for wait in (60.0, 7200.0):
            decision = settlement.decide(Failure(name, "why", retry_after_s=wait), facts, Limits(), 0.0)
            found[decision.rule] = (name, decision)
    return found


DECISIONS = _decisions()


@pytest.mark.parametrize(("state", "event"), STATES_AND_EVENTS)
def test_every_state_is_explained_whatever_led_to_it(state: str, event: str) -> None:
    """Any state, entered by any event that leads there, gives one paragraph with task, rule and what is next."""
    said = explain.explain(_story(state, event))
    assert "t1" in said.text
    assert "note" in said.text
    assert "\n" not in said.text
    assert said.rule == event
    assert f"Rule {event}: " in said.text
    assert said.text.endswith(f"Next: {said.next}")
    assert said.next.endswith(".")


@pytest.mark.parametrize("state", FAILED_STATES)
@pytest.mark.parametrize("kind", list(classes.CLASSES))
def test_a_failure_is_named_with_its_meaning_and_reason(state: str, kind: str) -> None:
    """Every class, in every state that keeps a failure, is named, said in words, and given with its own reason."""
    said = explain.explain(_story(state, EVENTS[state][0], kind=kind, failure_reason="the disk\nis full."))
    assert said.class_ == kind
    waited = (state, kind) == ("expired", "no_progress")
    meaning = "nothing came of it within its time" if waited else classes.of(kind).meaning
    assert f"Class {kind} ({meaning}), here: the disk is full." in said.text


@pytest.mark.parametrize("rule", sorted(DECISIONS))
def test_every_rule_of_a_decision_is_said_in_words(rule: str) -> None:
    """No rule that settlement can name is shown by its bare name."""
    words = rule_words.clause(rule)
    assert words != rule
    assert len(words) > 20


@pytest.mark.parametrize("rule", sorted(DECISIONS))
def test_the_words_of_a_rule_fit_where_it_leads(rule: str) -> None:
    """A rule of a reached bound says the very state in which the decision ends the task."""
    name, decision = DECISIONS[rule]
    bound = rule.removeprefix(f"{name}.")
    if bound in rule_words.BOUNDS:
        assert {
            "fail": "fails",
            "quarantine": "is quarantined",
            "hold": "is held",
        }[decision.event] in rule_words.clause(rule)


@pytest.mark.parametrize(
    "event", sorted(lifecycle.EVENTS - {"retry", "defer", "requeue", "reap", "fail", "quarantine"})
)
def test_events_that_are_rules_by_themselves_are_said_in_words(event: str) -> None:
    """An event that no failure's rule stands behind has words of its own."""
    assert rule_words.clause(event) != event


def test_responses_and_bounds_are_all_said() -> None:
    """A response or bound that a class has and no sentence explains would be shown bare."""
    assert {one.response for one in classes.CLASSES.values()} <= rule_words.RESPONSES.keys()
    assert {one.bound for one in classes.CLASSES.values()} - {"none"} <= rule_words.BOUNDS.keys()


@pytest.mark.parametrize("state", sorted({"leased", "running", "claimed_done", "verified", "finished_unproven"}))
def test_an_earlier_attempts_class_is_not_that_of_a_later_one(state: str) -> None:
    """While a new attempt is on its way, or has succeeded, the class of the one before is not the task's."""
    said = explain.explain(_story(state, EVENTS[state][0], kind="crash"))
    assert said.class_ is None
    assert "crash" not in said.text


def test_a_queue_nobody_serves_is_named() -> None:
    """Without a live worker for the agent, the paragraph says whom the task waits for."""
    said = explain.explain(_story("queued", "enqueue", service="nobody"))
    assert "No live worker declares the agent note." in said.text
    assert "proofq worker" in said.next


@pytest.mark.parametrize(
    ("service", "words"),
    [("busy", "Every slot of"), ("draining", "is draining or still starting"), ("free", "number 3")],
)
def test_why_no_slot_has_it_yet(service: str, words: str) -> None:
    """Busy, draining and merely behind others are told apart, with how many stand before it."""
    said = explain.explain(_story("queued", "enqueue", service=service, ahead=2))
    assert words in said.text
    assert "It is number 3 in its queue." in said.text


@pytest.mark.parametrize("kind", ["auth", "quota", "budget", "handoff_broken", "rate_limited", "overloaded"])
def test_a_held_task_says_what_to_do(kind: str) -> None:
    """What a human does first depends on the class; how to go on is always the same."""
    said = explain.explain(_story("held", "hold", kind=kind))
    assert not said.next.startswith("see to the cause")
    assert "then `proofq replay t1`, or `proofq cancel t1`" in said.next


@pytest.mark.parametrize("state", sorted(lifecycle.OWNED))
def test_a_cancel_on_its_way_is_what_comes_next(state: str) -> None:
    """A held task whose cancel was asked will be stopped, whatever its state was heading for."""
    assert "cancel" in explain.explain(_story(state, "ask_cancel", cancel_asked=True)).next


@pytest.mark.parametrize("state", sorted(lifecycle.OWNED))
def test_a_lost_worker_is_said(state: str) -> None:
    """After a reap the paragraph says that the worker was lost and who settles now."""
    said = explain.explain(_story(state, "reap", reason="its owner is silent", taken_over=True))
    assert "lost its worker" in said.text
    assert "its owner is silent" in said.text
    assert "another worker" in said.next


def test_a_task_that_expires_before_its_time_says_so() -> None:
    """A not_before beyond the task's age is told as what it is: it will never run."""
    said = explain.explain(_story("deferred", "enqueue_later", expires_at="2026-11-21T10:00:30.000Z"))
    assert "it expires at 2026-11-21T10:00:30.000Z, before its time comes" in said.next


def test_a_refusal_after_the_end_is_told() -> None:
    """What was tried in vain since the task came to its state is part of why."""
    said = explain.explain(_story("verified", "verify", refused=("cancel", "it is verified")))
    assert "Since then cancel was refused: it is verified." in said.text


def test_proofs_are_named() -> None:
    """The kinds of the proofs stand in a success, and those that did not hold in a failure."""
    held = explain.explain(_story("verified", "verify", proofs=[("file", "verified"), ("json", "verified")]))
    assert "by 2 proofs (file, json)" in held.text
    failed = explain.explain(_story("quarantined", "quarantine", proofs=[("file", "unverified")]))
    assert "the file proof found it not so" in failed.text


def test_an_unknown_rule_is_shown_as_it_is() -> None:
    """A rule written by a newer version is shown by its name rather than guessed at."""
    assert rule_words.clause("novelty.limit") == "novelty.limit"
