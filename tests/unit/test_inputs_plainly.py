"""Inputs of a schema that names types and nothing else are judged without a validator, and as one would."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofq.policies import inputs, schema

TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
VALUES: tuple[Any, ...] = ("x", "", 1, 0, -1, True, False, 1.0, 1.5, [], [1], {}, {"a": 1}, None)


def judged(asked: dict[str, Any], given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], bool]:
    """What is wrong, and whether a validator was asked."""
    calls: list[Any] = []
    findings = schema.findings

    def noted(*told: Any) -> list[schema.Finding]:
        calls.append(told)
        return list(findings(*told))

    with monkeypatch.context() as patch:
        patch.setattr(schema, "findings", noted)
        return inputs.validate(asked, given), bool(calls)


@pytest.mark.parametrize("kind", TYPES)
def test_it_says_what_a_validator_says(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every value against every type: what is told at once to fit does fit, and nothing else is told so."""
    plain = {"type": "object", "properties": {"x": {"type": kind}}, "required": ["x"], "additionalProperties": False}
    # The same, said in a way that only a validator reads.
    same = {**plain, "properties": {"x": {"type": [kind]}}}
    told_at_once = 0
    for value in VALUES:
        wrong, asked = judged(plain, {"x": value}, monkeypatch)
        assert (wrong == []) == (inputs.validate(same, {"x": value}) == []), json.dumps(value)
        told_at_once += not asked
    assert told_at_once == sum(kind != "null" and inputs.validate(same, {"x": value}) == [] for value in VALUES)


@pytest.mark.parametrize(
    "schema_",
    [
        {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x", "y"]},
        {"type": "object", "properties": {"y": {"type": "string"}}, "additionalProperties": False},
        {"type": "object", "properties": {"x": {"type": "string", "minLength": 5}}},
        {"type": "object", "properties": {"x": {"type": "string"}}, "maxProperties": 0},
        {"type": "array"},
    ],
)
def test_whatever_else_is_asked_is_looked_at(schema_: dict[str, Any]) -> None:
    """A schema that says more, or inputs that are missing or beyond, are never told to fit."""
    assert inputs.validate(schema_, {"x": "abc"}) != []


ODD: tuple[Any, ...] = (
    "\0", "a\0", "\ud800", 2**70, -(2**70), 10**400, math.nan, math.inf, {1: "x"}, {"\0": 1}, ["\0"], object(), b"x",
)  # fmt: skip


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "ü", "\0", "\ud800", 7]),
        st.one_of(st.text(max_size=4), st.integers(), st.floats(), st.booleans(), st.none(), st.sampled_from(ODD)),
        max_size=3,
    )
)
def test_what_is_told_usable_at_a_look_is(given_: dict[Any, Any]) -> None:
    """Whoever looks at each value finds nothing either."""
    if inputs._is_plain(given_):
        assert [*inputs._bad_values(given_, "")] == []
        json.dumps(given_, allow_nan=False)


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:20])
def test_nothing_odd_is_told_usable_at_a_look(odd: Any) -> None:
    """As a value, or as a name."""
    assert not inputs._is_plain({"a": "x", "b": odd})
    if isinstance(odd, str):
        assert not inputs._is_plain({odd: 1})


def test_what_might_be_too_long_is_measured() -> None:
    """A character of control takes six bytes in JSON."""
    assert inputs.validate(None, {"a": "\1" * (inputs.MAX_BYTES // 6)}) != []
    assert inputs.validate(None, {"a": "x" * (inputs.MAX_BYTES - 100)}) == []
    assert inputs.validate(None, {str(number): "" for number in range(100_000)}) != []
