"""What makes failures one cause, when it opens, and who is told how often."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofq.policies import classes, incident, incident_rules
from proofq.policies.failure import PHASES, SOURCES, Failure
from proofq.policies.incident_rules import Rules

RULES = Rules()
FAILURES = st.builds(
    Failure,
    kind=st.sampled_from(list(classes.CLASSES)),
    reason=st.text(max_size=400),
    source=st.sampled_from(sorted(SOURCES)),
    phase=st.sampled_from([None, *sorted(PHASES)]),
    retry_after_s=st.one_of(st.none(), st.floats(0, 1e6)),
    fingerprint=st.text("0123456789abcdef", max_size=16),
)


def test_every_class_has_one_severity_and_no_word_is_of_no_class() -> None:
    """The sets name classes only, and none of them twice."""
    sets = [incident._CRITICAL, incident._WARNING]
    assert frozenset[str]().union(*sets, incident._OF_PROVIDER, incident._TOLD_TO_WAIT) <= set(classes.CLASSES)
    assert not sets[0] & sets[1]


def test_a_provider_is_one_cause_for_all_agents() -> None:
    """A dead key is one incident, wherever in whichever agent it was met; without a provider each agent has its own."""
    first, second = Failure("auth", "401", fingerprint="a1"), Failure("auth", "403", fingerprint="b2")
    one, other = incident.cause(first, "note", "openai"), incident.cause(second, "sum", "openai")
    assert one is not None
    assert one == other
    assert incident.cause(first, "note", "") != incident.cause(first, "sum", "")


def test_a_bug_is_one_cause_for_each_agent_and_fingerprint() -> None:
    """Another agent, another fingerprint or another class is another cause."""
    failures = [Failure("crash", "x", fingerprint="a1"), Failure("crash", "y", fingerprint="b2")]
    failures.append(Failure("unknown", "x", fingerprint="a1"))
    found = {
        made.key
        for failure in failures
        for agent in ("note", "sum")
        if (made := incident.cause(failure, agent, "openai"))
    }
    assert len(found) == 6


def test_what_is_nobodys_trouble_is_no_incident() -> None:
    """A cancel, and a wait of our own choosing."""
    assert incident.report(Failure("cancelled", "asked"), "a", "", RULES) is None
    ours = Failure("infrastructure", "another suspect is being tried", "host", retry_after_s=5.0)
    assert incident.report(ours, "a", "", RULES) is None
    assert incident.report(Failure("infrastructure", "disk", "host"), "a", "", RULES) is not None


@pytest.mark.parametrize(
    ("failure", "level", "opens"),
    [
        (Failure("auth", "401"), "critical", 1),
        (Failure("quota", "out of credit"), "critical", 1),
        (Failure("quota", "until noon", retry_after_s=60), "info", 3),
        (Failure("rate_limited", "429"), "info", 3),
        (Failure("overloaded", "503"), "warning", 3),
        (Failure("crash", "a bug"), "error", 2),
        (Failure("unknown", "?"), "error", 2),
        (Failure("infrastructure", "cannot tell", "host", "proof"), "error", 2),
    ],
)
def test_severity_and_threshold(failure: Failure, level: str, opens: int) -> None:
    """What waits for a human opens at once, a bug at the second equal failure, what may pass at the third."""
    said = incident.report(failure, "a", "p", RULES)
    assert said is not None
    assert (said["severity"], said["opens_at"]) == (level, opens)
    assert said["tells"] == (level != "info")


def test_escalations_are_bounded_and_slower_for_the_less_severe() -> None:
    """At most M, each wait twice the one before, none for what is only listed."""
    waits = {level: incident.escalations(level, RULES) for level in incident.SEVERITIES}
    assert waits["info"] == ()
    assert waits["critical"] == (900, 1800, 3600)
    assert waits["warning"][0] == 4 * waits["critical"][0]
    assert incident.escalations("critical", Rules(max_escalations=0)) == ()


@given(level=st.sampled_from([*incident.SEVERITIES, "junk"]), times=st.integers(0, 20))
def test_a_raised_severity_is_one(level: str, times: int) -> None:
    """However often it is raised, and whatever a broken row says."""
    assert incident.raised(level, times) in incident.SEVERITIES


@given(failure=FAILURES, agent=st.sampled_from(["a", "b"]), provider=st.sampled_from(["", "p"]))
def test_a_report_is_small_and_whole(failure: Failure, agent: str, provider: str) -> None:
    """Any failure at all gives nothing, or numbers that a script can compare and a reason of bounded length."""
    said = incident.report(failure, agent, provider, RULES)
    if said is None:
        return
    assert len(said["reason"]) <= 300
    assert len(said["cause"]) == 16
    assert said["opens_at"] >= 1
    assert len(said["schedule"]) <= RULES.max_escalations
    assert said["quiet_ms"] <= said["gather_ms"]
    assert said["provider"] == "" or said["agent"] == ""


def test_sentences_for_why() -> None:
    """How many, and the incident once there is one."""
    row = {"id": "i1", "state": "open", "count": 50}
    assert incident.sentence(row) == "It is one of 50 equal failures of one cause, incident i1 (open)."
    assert incident.sentence(row | {"state": "seen", "count": 1}) == "It is the only failure so far of one cause."


def test_titles() -> None:
    """A line says class, whose, which and how many."""
    row = {"class": "crash", "provider": None, "agent": "note", "fingerprint": "a1", "count": 2}
    assert incident.title(row) == "crash of agent note (a1): 2 failures"
    row |= {"provider": "openai", "fingerprint": "", "count": 1}
    assert incident.title(row) == "crash of provider openai: 1 failure"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", 0), ("threshold", 1.5), ("threshold", True), ("window_s", 0), ("window_s", float("nan")),
        ("max_escalations", 11), ("gather_s", -1), ("notify_urls_env", 7), ("wat", 1),
    ],
)  # fmt: skip
def test_bad_settings_are_refused(name: str, value: object) -> None:
    """Out of bounds, of another type, or unknown."""
    assert incident_rules.problem(name, value)


def test_urls_in_place_of_the_variables_name_are_refused_unseen() -> None:
    """A URL is a secret: the sentence does not repeat it."""
    said = incident_rules.problem("notify_urls_env", "slack://token-a/token-b")
    assert said
    assert "token" not in said
    assert incident_rules.problem("notify_urls_env", "MY_URLS") is None


def test_each_escalation_is_told_at_the_next_severity() -> None:
    """Up to the highest; a word that is none is told as the lowest would be."""
    assert [incident.raised("warning", times) for times in (0, 1, 2, 9)] == ["warning", "error", "critical", "critical"]
    assert incident.raised("dire", 1) == "warning"


def test_nobody_is_waited_for_longer_than_is_gathered() -> None:
    """A quiet_s beyond gather_s is gather_s; both 0 tells at once."""
    for gather_s, quiet_s, quiet_ms in ((10, 2, 2000), (1, 5, 1000), (0, 0, 0)):
        said = incident.report(Failure("crash", "x"), "a", "", Rules(gather_s=gather_s, quiet_s=quiet_s))
        assert said is not None
        assert (said["gather_ms"], said["quiet_ms"]) == (gather_s * 1000, quiet_ms)
