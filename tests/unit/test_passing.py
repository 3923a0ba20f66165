"""What a command line cannot be given, known before an attempt."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proofq.policies import declaration, passing, placeholders
from proofq.policies.adoption import ForeignJob, judge
from proofq.policies.passing import Passing


def test_where_inputs_stand() -> None:
    """Bare are those an argument begins with before `--`; argued all of command and variables; no names of ours."""
    command = ["run", "{a}", "--x={b}", "{c}{d}", "{workdir}/{e}", "{{f}}", "--", "{g}"]
    found = passing.of(command, ["{h}", "constant"])
    assert found == Passing(frozenset("ac"), frozenset("abcdegh"))
    assert Passing.from_dict(found.to_dict()) == found
    assert Passing.from_dict({}) == passing.of(()) == Passing()


def test_a_proofs_command_is_one_too() -> None:
    """What its argv cannot take is known at enqueue, and where plain RQ's jobs are adopted."""
    raw = {"name": "a", "command": ["true"], "inputs": {"doc": "str"}}
    spec = declaration.check(raw | {"proofs": [{"kind": "command", "argv": ["cat", "{doc}"]}]}, "here")
    assert passing.of_agent(spec) == Passing(frozenset({"doc"}), frozenset({"doc"}))
    born = [judge(ForeignJob("proofq.run", args=({"doc": doc},)), spec).event for doc in ("a", "-a")]
    assert born == ["adopt", "adopt_bad"]


@given(
    st.lists(st.sampled_from(["{a}", "x{a}", "--o={a}", "--", "{b}", "-{b}", "{a}{b}"]), max_size=4),
    st.dictionaries(st.sampled_from("ab"), st.sampled_from(["", "-", "-x", "y", "x" * 131_071, "x" * 131_072, 5, -5])),
)
def test_refuses_only_what_an_attempt_refuses(elements: list[str], inputs: dict[str, Any]) -> None:
    """Whatever is refused at enqueue could not have been run."""
    command = ["run", *elements]
    if passing.problems(passing.of(command), inputs):
        try:
            placeholders.expand_command(command, {"a": "", "b": "", **inputs})
        except placeholders.PlaceholderProblem:
            return
        raise AssertionError("it would have been run")
