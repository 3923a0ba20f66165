"""Caps as they are declared, what a lease must meet, and what people are told."""

from __future__ import annotations

from typing import Any

import pytest

from proofq.policies import cap_words, caps, declaration
from proofq.policies.agent import AgentSpec, DeclarationProblem, Provider
from proofq.policies.cap_words import Reached
from proofq.policies.caps import Cap, Rate

RATE = Rate(60, 60.0)


def _agent(**said: Any) -> AgentSpec:
    return declaration.check({"name": "a", "command": ["true"], "unproven": True, **said}, "t")


def test_caps_are_declared_of_agents_and_providers() -> None:
    """Both may have both; what says nothing has none; they survive the way to a child and change the version."""
    spec = _agent(max_running=4, rate={"starts": 60, "per_s": 60})
    provider = declaration.check_provider("p", {"max_running": 10, "rate": {"starts": 3, "per_s": 0.5}}, "t")
    assert (spec.max_running, spec.rate) == (4, RATE)
    assert (provider.max_running, provider.rate) == (10, Rate(3, 0.5))
    assert AgentSpec.from_dict(spec.to_dict()) == spec
    assert Provider.from_dict(provider.to_dict()) == provider
    assert len({spec.version, _agent().version, _agent(max_running=4).version}) == 3
    assert (_agent().max_running, _agent().rate) == (None, None)


@pytest.mark.parametrize(
    "said",
    [
        {"max_running": 0}, {"max_running": True}, {"max_running": 1.5}, {"max_running": 1001}, {"rate": 5},
        {"rate": {"starts": 5}}, {"rate": {"starts": 0, "per_s": 1}}, {"rate": {"starts": 5, "per_s": 0}},
        {"rate": {"starts": 5, "per_s": 86_401}}, {"rate": {"starts": 5, "per_s": 1, "burst": 2}},
        {"rate": {"starts": 5, "per_s": 0.0001}},
    ],
)  # fmt: skip
def test_what_is_no_cap_is_refused(said: dict[str, Any]) -> None:
    """With a sentence, of an agent as of a provider."""
    with pytest.raises(DeclarationProblem, match=next(iter(said))):
        _agent(**said)
    with pytest.raises(DeclarationProblem, match=next(iter(said))):
        declaration.check_provider("p", said, "t")


def test_a_lease_must_meet_the_caps_of_agent_and_provider() -> None:
    """The agent's first; words that a script can read and that are read back alike; nothing where nothing is said."""
    spec = AgentSpec("a", "command", max_running=2)
    found = caps.of_agent(spec, Provider("p", rate=Rate(5, 0.0004)))
    assert [one.name for one in found] == ["agent:a", "provider:p"]
    assert caps.words(found) == "agent:a 2 0 0 provider:p 0 5 1"
    assert caps.read(caps.words(found)) == (Cap("agent:a", 2), Cap("provider:p", None, Rate(5, 0.001)))
    assert caps.of_agent(AgentSpec("a", "command"), Provider("p")) == ()
    assert caps.read("agent:a two 0 0 rest") == ()


def test_people_are_told_which_cap_and_what_ends_the_wait() -> None:
    """A full one, a rate, and one that nobody can read."""
    full = cap_words.waiting(Reached(Cap("agent:a", 1), 1))
    spent = cap_words.waiting(Reached(Cap("provider:p", None, RATE), 0, spent=True, until="T"))
    one = cap_words.waiting(Reached(Cap("agent:a", None, Rate(1, 0.5)), 0, spent=True, until="T"))
    damaged = cap_words.waiting(Reached(Cap("agent:a", 1), damaged=True))
    assert full[0] == "As many run as the agent a lets run at once: 1 attempt runs, max_running is 1."
    assert spent == (
        "As many have begun as the rate of the provider p lets begin: 60 attempts within 60 s.",
        "it waits until T",
    )
    assert one[0].endswith("lets begin: 1 attempt within 0.5 s.")
    assert "proofq audit" in damaged[1]
