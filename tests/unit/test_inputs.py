"""Inputs: what fits a schema, and what k=v words mean under it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofq.policies import input_schema, inputs, schema
from proofq.policies.inputs import InputProblem

SCHEMA = input_schema.from_sugar(
    {"doc": "str", "pages": "list", "n": "int?", "f": "float?", "b": "bool?", "d": "dict?", "s": "str?"}
)
FIT: dict[str, Any] = {"doc": "a.txt", "pages": [1]}


@pytest.mark.parametrize("extra", [{}, {"n": 5}, {"n": None}, {"f": 1}, {"f": 1.5}, {"b": False}, {"d": {}}, {"s": ""}])
def test_fits(extra: dict[str, Any]) -> None:
    """What fits has no problems; an optional may be empty or null, and {} is a value."""
    assert inputs.validate(SCHEMA, {**FIT, **extra}) == []


UNFIT: list[tuple[Any, str]] = [
    ({}, "input doc is missing; give it with -i doc=VALUE or in the inputs object"),
    ({**FIT, "doc": ""}, 'input doc is empty (""); it is required, give it a value'),
    ({**FIT, "doc": None}, "input doc is empty (null); it is required, give it a value"),
    ({**FIT, "pages": []}, "input pages is empty ([]); it is required, give it a value"),
    ({**FIT, "n": True}, "input n: True is not of type 'integer'"),
    ({**FIT, "n": 1.0}, "input n: 1.0 is not of type 'integer'"),
    ({**FIT, "f": True}, "input f: True is not of type 'number'"),
    ({**FIT, "f": "1"}, "input f: '1' is not of type 'number'"),
    ({**FIT, "doc": 5}, "input doc: 5 is not of type 'string'"),
    ({**FIT, "dok": "x"}, "input dok is not declared; did you mean doc?"),
    ({**FIT, "zzzz": "x"}, "input zzzz is not declared; its inputs are b, d, doc, f, n, pages, s"),
    ({**FIT, "doc": "a\0b"}, "input doc: holds a NUL character"),
    ({**FIT, "d": {"k\0": 1}}, "input d/'k\\x00': its name holds a NUL character"),
    ({**FIT, "pages": ["ok", "\ud83d"]}, "input pages/1: holds half a surrogate pair"),
    ({**FIT, "f": float("nan")}, "input f: is nan, which JSON cannot carry"),
    ({**FIT, "pages": [{"x": float("-inf")}]}, "input pages/0/x: is -inf, which JSON cannot carry"),
    ({**FIT, "n": 10**400}, "input n: is too large a number; give it as text"),
    ({**FIT, "doc": Path("x")}, "Path is no JSON; give text"),
    ({**FIT, "pages": (1,)}, "input pages: tuple is no JSON"),
    ({**FIT, 5: 1}, "input 5: the name 5 is no text"),
    ({**FIT, "doc": "x" * 2**20}, "bytes, more than 1048576; put the data into a file and give its path"),
    (["doc"], "inputs are an object of names and values, not ['doc']"),
    (None, "inputs are an object of names and values, not None"),
]


@pytest.mark.parametrize(("given_inputs", "sentence"), UNFIT)
def test_does_not_fit(given_inputs: Any, sentence: str) -> None:
    """Each problem is a sentence that names the input."""
    problems = inputs.validate(SCHEMA, given_inputs)
    assert any(sentence in problem for problem in problems), problems


def test_each_problem_is_told_once() -> None:
    """A missing, an empty and an unknown input give one sentence each, and all of them at once."""
    assert len(inputs.validate(SCHEMA, {"pages": [], "dok": 1})) == 3


@pytest.mark.parametrize(("depth", "fits"), [(32, True), (33, False), (100_000, False)])
def test_depth(depth: int, fits: bool) -> None:
    """Lists and objects may be nested 32 deep, and nothing deeper raises."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    problems = inputs.validate(SCHEMA, {**FIT, "pages": value})
    assert problems == [] if fits else "nested deeper than 32 levels" in problems[0]


def test_a_value_that_holds_itself() -> None:
    """A cycle is too deep, and no endless loop."""
    value: list[Any] = []
    value.append(value)
    assert "nested deeper" in inputs.validate(SCHEMA, {**FIT, "pages": value})[0]


def test_without_a_schema() -> None:
    """An undeclared agent is given anything JSON can carry, and nothing else."""
    assert inputs.validate(None, {"x": [], "y": None}) == []
    assert inputs.validate(None, {"x": "\0"}) != []


def test_extra_names_a_schema_allows() -> None:
    """A schema that speaks of further names decides on them itself."""
    assert inputs.validate({"type": "object", "additionalProperties": True}, {"x": 1}) == []
    assert inputs.validate({"type": "object", "patternProperties": {"^x": {"type": "string"}}}, {"x": 1}) != []
    assert inputs.validate({"type": "object", "patternProperties": {"^x": {"type": "string"}}}, {"x": "1"}) == []
    assert inputs.validate({"type": "object"}, {"x": 1}) == ["input x is not declared; the agent takes none"]


def test_required_names_a_schema_leaves_open() -> None:
    """A required name need not be among the properties where the schema allows further names."""
    for further in ({"additionalProperties": True}, {"patternProperties": {"^x": True}}):
        declared = input_schema.from_schema({"required": ["x"], **further})
        assert inputs.validate(declared, {}) == ["input x is missing; give it with -i x=VALUE or in the inputs object"]
        assert inputs.validate(declared, {"x": 1}) == []


def test_what_is_required_deeper_inside() -> None:
    """A name missing inside an input is told with its path, as is one too many."""
    inner = {"required": ["b"], "additionalProperties": False}
    declared = input_schema.from_schema({"properties": {"a": inner}})
    assert inputs.validate(declared, {"a": {}}) == ["input a: 'b' is a required property"]
    problems = inputs.validate(declared, {"a": {"b": 1, "c": 1}})
    assert problems == ["input a: Additional properties are not allowed ('b', 'c' were unexpected)"]


def test_defaults_are_filled_in() -> None:
    """Absent names take the schema's default; given ones stay, null too."""
    declared = {"type": "object", "properties": {"a": {"default": 1}, "b": {"default": 2}, "c": {}, "d": True}}
    assert inputs.complete(declared, {"b": None}) == {"a": 1, "b": None}


# --- k=v -----------------------------------------------------------------------------------------------------------


def test_pairs() -> None:
    """Each word is converted by the type of its input."""
    pairs = ["doc=a=b ", "n=-5", "f=1e3", "b=true", "pages=[1, null]", 'd={"a": 1}', "s="]
    found = inputs.convert_pairs(SCHEMA, pairs)
    assert found == {"doc": "a=b ", "n": -5, "f": 1000.0, "b": True, "pages": [1, None], "d": {"a": 1}, "s": ""}
    assert inputs.validate(SCHEMA, found) == []
    assert inputs.convert_pairs(None, ["n=5", "x=true"]) == {"n": "5", "x": "true"}


def test_pairs_of_looser_types() -> None:
    """Alternatives and constants are tried, text last; without a type the word is text."""
    declared = input_schema.from_schema(
        {"properties": {"a": {"type": ["string", "integer"]}, "b": {"enum": [1, "x"]}, "c": {}, "d": {"const": 5}}}
    )
    assert inputs.convert_pairs(declared, ["a=5", "b=1", "c=5", "d=5"]) == {"a": 5, "b": 1, "c": "5", "d": 5}
    assert inputs.convert_pairs(declared, ["a=x", "b=x"]) == {"a": "x", "b": "x"}


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        (["doc"], "'doc' is no input; write NAME=VALUE"),
        (["=x"], "'=x' is no input; write NAME=VALUE"),
        (["doc=a", "doc=a"], "input doc is given twice; give it once"),
        (["n=1.0"], "input n is '1.0', and it takes a whole number"),
        (["n=1_000"], "input n is '1_000', and it takes a whole number"),
        (["n=٣"], "it takes a whole number"),
        (["n="], "input n is '', and it takes a whole number"),
        (["n=" + "9" * 5000], "it takes a whole number"),
        (["f=nan"], "input f is 'nan', and it takes a number"),
        (["f=1e999"], "input f is '1e999', and it takes a number"),
        (["b=True"], "input b is 'True', and it takes true or false"),
        (["pages=a,b"], "input pages is 'a,b', and it takes a list; write it as JSON"),
        (['d={"a":1,"a":2}'], "and it takes an object; write it as JSON"),
        (["d=[]"], "input d is '[]', and it takes an object; write it as JSON"),
        (["dok=x"], "input dok is not declared; did you mean doc?"),
    ],
)
def test_refused_pairs(pairs: list[str], sentence: str) -> None:
    """A word that is no value of its input is refused, never guessed."""
    with pytest.raises(InputProblem) as caught:
        inputs.convert_pairs(SCHEMA, pairs)
    assert sentence in str(caught.value)


def test_all_pairs_are_told_at_once() -> None:
    """Every bad word has its sentence in one refusal."""
    with pytest.raises(InputProblem) as caught:
        inputs.convert_pairs(SCHEMA, ["n=x", "b=x", "doc"])
    assert len(caught.value.problems) == 3


# --- nothing but the documented errors -----------------------------------------------------------------------------

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet="a\0\ud800é") | st.binary(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["doc", "n", "pages", "", "\ud800"]) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(ANYTHING)
def test_validate_never_raises(value: Any) -> None:
    """Whatever is given, validate gives sentences; what it lets through survives strict JSON."""
    problems = inputs.validate(SCHEMA, value)
    assert all(isinstance(problem, str) and problem.startswith("input") for problem in problems)
    if not problems:
        assert schema.read_json(json.dumps(value)) == value


@given(st.lists(st.text(alphabet='dnfbp=ocages1.-e"[]{}', max_size=12), max_size=4))
def test_pairs_raise_one_error(pairs: list[str]) -> None:
    """Whatever is typed, it converts or is refused by InputProblem."""
    try:
        found = inputs.convert_pairs(SCHEMA, pairs)
    except InputProblem:
        return
    assert len(found) == len(pairs)


@given(
    st.fixed_dictionaries(
        {"doc": st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)},
        optional={
            "n": st.integers(-(10**200), 10**200),
            "f": st.floats(allow_nan=False, allow_infinity=False),
            "b": st.booleans(),
        },
    )
)
def test_pairs_round_trip(value: dict[str, Any]) -> None:
    """A value written as k=v is the value again."""
    words = [f"{name}={each if isinstance(each, str) else json.dumps(each)}" for name, each in value.items()]
    assert inputs.convert_pairs(SCHEMA, words) == value
