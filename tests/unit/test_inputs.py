"""Inputs: their schema from sugar, annotations or JSON Schema; what fits it; what k=v words mean."""

from __future__ import annotations

import inspect
import json
import socket
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofq.policies import input_schema, inputs, schema
from proofq.policies.agent import DeclarationProblem
from proofq.policies.inputs import InputProblem
from proofq.policies.schema import JsonProblem

SCHEMA = input_schema.from_sugar(
    {"doc": "str", "pages": "list", "n": "int?", "f": "float?", "b": "bool?", "d": "dict?", "s": "str?"}
)
FIT: dict[str, Any] = {"doc": "a.txt", "pages": [1]}


def test_sugar() -> None:
    """Words of the sugar are JSON Schema; `?` may be left out or null."""
    assert input_schema.from_sugar({"doc": "str", "n": "int?"}) == {
        "type": "object",
        "properties": {"doc": {"type": "string"}, "n": {"type": ["integer", "null"]}},
        "required": ["doc"],
        "additionalProperties": False,
    }
    assert input_schema.names(SCHEMA) == {"doc", "pages", "n", "f", "b", "d", "s"}


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


# --- annotations ---------------------------------------------------------------------------------------------------


def _of(function: Callable[..., Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(function, include_extras=True)
    return input_schema.from_parameters(list(inspect.signature(function).parameters.values()), hints)


def test_annotations() -> None:
    """Every supported annotation, and what makes an input optional."""

    def agent(
        a: str,
        b: int,
        c: float,
        d: bool,
        e: list,  # type: ignore[type-arg]
        f: dict[str, int],
        g: list[str],
        h: Optional[str],  # noqa: UP045 - both spellings are supported
        i: Annotated[str, "doc"],
        j: Literal["x", "y"],
        k: Union[int, str],  # noqa: UP007
        free,
        m: int = 3,
        n: str | None = None,
        o: str = None,  # type: ignore[assignment]  # noqa: RUF013
        p: Any = object(),  # noqa: B008
        q: Literal["x"] | None = None,
        r: object = None,
        s: None = None,
        t: dict = {"a": [1]},  # type: ignore[type-arg]  # noqa: B006
        u: dict = {1: 2},  # type: ignore[type-arg]  # noqa: B006
        v: dict = {"a": {1}},  # type: ignore[type-arg]  # noqa: B006
        w: Literal["x", None] = None,
    ) -> None: ...

    found = _of(agent)
    assert found["properties"] == {
        "a": {"type": "string"},
        "b": {"type": "integer"},
        "c": {"type": "number"},
        "d": {"type": "boolean"},
        "e": {"type": "array"},
        "f": {"type": "object", "additionalProperties": {"type": "integer"}},
        "g": {"type": "array", "items": {"type": "string"}},
        "h": {"type": ["string", "null"], "default": None},
        "i": {"type": "string"},
        "j": {"enum": ["x", "y"]},
        "k": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        "free": {},
        "m": {"type": "integer", "default": 3},
        "n": {"type": ["string", "null"], "default": None},
        "o": {"type": ["string", "null"], "default": None},
        "p": {},
        "q": {"anyOf": [{"enum": ["x"]}, {"type": "null"}], "default": None},
        "r": {"default": None},
        "s": {"type": "null", "default": None},
        "t": {"type": "object", "default": {"a": [1]}},
        "u": {"type": "object"},
        "v": {"type": "object"},
        "w": {"enum": ["x", None], "default": None},
    }
    assert found["required"] == ["a", "b", "c", "d", "e", "f", "g", "i", "j", "k", "free"]


def _path(a: Path) -> None: ...
def _set(a: set[str]) -> None: ...
def _int_keys(a: dict[int, str]) -> None: ...
def _bytes(a: Literal[b"x"]) -> None: ...
def _star(*a: str) -> None: ...
def _stars(**a: str) -> None: ...
def _positional(a: str, /) -> None: ...
def _ours(workdir: str) -> None: ...


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (_path, "parameter a: Path is no type of an input; use str, int, "),
        (_set, "is no type of an input"),
        (_int_keys, "is no type of an input"),
        (_bytes, "is no type of an input"),
        (_star, "parameter a: inputs are passed by name"),
        (_stars, "parameter a: inputs are passed by name"),
        (_positional, "parameter a: inputs are passed by name"),
        (_ours, "input workdir is a placeholder of ours"),
    ],
)
def test_refused_parameters(function: Callable[..., Any], sentence: str) -> None:
    """A parameter whose inputs could not be checked or passed by name is refused."""
    with pytest.raises(DeclarationProblem) as caught:
        _of(function)
    assert sentence in caught.value.message
    assert caught.value.key in (("a",), ("workdir",))


# --- JSON Schema ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        (5, "inputs_schema is a JSON Schema of an object"),
        ({"type": "array"}, "inputs are an object of names"),
        ({"type": "objekt"}, "not a valid JSON Schema at type"),
        ({"properties": {"a": {"pattern": "("}}}, "not a valid JSON Schema at properties/a/pattern"),
        ({"$ref": "https://example.org/s.json"}, "is outside this schema and is never fetched"),
        ({"properties": {"a": {"$ref": "other.json#/x"}}}, "properties/a/$ref: 'other.json#/x' is outside"),
        ({"properties": {"a": {"$dynamicRef": "file:///etc/passwd"}}}, "is outside this schema"),
        ({"properties": {"a": {"$ref": "#/$defs/b"}}}, "properties/a/$ref: '#/$defs/b' names nothing in this schema"),
        ({"properties": {"a": {"$id": "https://example.org/"}}}, "may not have an $id of its own"),
        ({"$schema": "https://example.org/draft"}, "is no draft we know"),
        ({"$schema": 5}, "is no draft we know"),
        ({"required": ["a"]}, "a is required but not among the properties"),
        ({"properties": {"a": {"const": float("nan")}}}, "a schema is JSON, and this is none"),
        ({"properties": {"a": {"const": object()}}}, "a schema is JSON, and this is none"),
    ],
)
def test_refused_schemas(declared: Any, sentence: str) -> None:
    """What is no schema of an inputs object, or reaches outside itself, is refused."""
    with pytest.raises(DeclarationProblem) as caught:
        input_schema.from_schema(declared)
    assert sentence in caught.value.message


@pytest.mark.parametrize(
    "draft", [None, "https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft-07/schema#"]
)
def test_schemas_with_local_references(draft: str | None) -> None:
    """References inside the schema work, in 2020-12 and in the older drafts that files name; $id fetches nothing."""
    declared: dict[str, Any] = {
        "$id": "https://example.org/note",
        "$defs": {"name": {"type": "string", "maxLength": 3}},
        "properties": {"a": {"$ref": "#/$defs/name"}},
    }
    if draft is not None:
        declared["$schema"] = draft
    found = input_schema.from_schema(declared)
    assert inputs.validate(found, {"a": "abc"}) == []
    assert inputs.validate(found, {"a": "abcd"}) == ["input a: 'abcd' is too long"]


def test_properties_called_like_keywords() -> None:
    """An input may be called $ref inside; what is looked at is the keyword."""
    declared = {"properties": {"a": {"properties": {"$ref": {"type": "string"}, "$id": {"type": "string"}}}}}
    assert inputs.validate(input_schema.from_schema(declared), {"a": {"$ref": "https://example.org/"}}) == []


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference that slipped past declaration is a problem of the schema, not a request on the network."""

    def refuse(*_: object) -> None:
        pytest.fail("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    problems = inputs.validate({"properties": {"a": {"$ref": "http://127.0.0.1:9/x"}}}, {"a": 1})
    assert "could not be checked against its schema: " in problems[0]


def test_a_schema_that_never_ends() -> None:
    """Endless references are a problem, not an error."""
    assert "RecursionError" in inputs.validate({"type": "object", "$ref": "#"}, {})[0]


def test_an_integer_is_no_float_and_no_bool() -> None:
    """1.0 and true are no integers, at any depth."""
    assert schema.problems({"items": {"type": "integer"}}, [1, 2]) == []
    assert schema.problems({"items": {"type": "integer"}}, [1.0]) == ["0: 1.0 is not of type 'integer'"]
    assert schema.problems({"type": "integer"}, True) == ["True is not of type 'integer'"]


# --- strict JSON ---------------------------------------------------------------------------------------------------

NO_JSON: list[tuple[str | bytes, str]] = [
    ('{"a":1}{"b"', "not one JSON document: Extra data at line 1, column 8"),
    ("", "not one JSON document"),
    ('{"a":1,"a":1}', "the key 'a' stands twice in one object"),
    ("[NaN]", "NaN is no JSON number"),
    ("-Infinity", "-Infinity is no JSON number"),
    ("1e999", "the number 1e999 is too large"),
    ("1" * 5000, "not usable as JSON"),
    (r'"\ud800"', "half a surrogate pair"),
    ('"\ud800"', "half a surrogate pair"),
    (b'"\xff"', "not UTF-8: byte 1 is 0xff"),
    (b"\xef\xbb\xbf1", "not one JSON document"),
    ("```json\n{}\n```", "not one JSON document"),
    ("[" * 65 + "]" * 65, "nested deeper than 64 levels"),
    ("[" * 100_000, "nested deeper than 64 levels"),
    ("\f1", "not one JSON document"),
    ("'a'", "not one JSON document"),
]


@pytest.mark.parametrize(("document", "sentence"), NO_JSON)
def test_what_is_not_one_strict_document(document: str | bytes, sentence: str) -> None:
    """Everything that other readers would read otherwise, or not at all."""
    with pytest.raises(JsonProblem) as caught:
        schema.read_json(document)
    assert sentence in str(caught.value)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None)
@given(JSON_VALUES, st.text(alphabet=" \t\r\n", max_size=3))
def test_strict_json_gives_back_what_was_written(value: Any, space: str) -> None:
    """What json.dumps writes is read back, white space around it allowed."""
    assert schema.read_json((space + json.dumps(value) + space).encode()) == value


@settings(deadline=None)
@given(st.text() | st.binary())
def test_reading_raises_one_error(document: str | bytes) -> None:
    """Any text or bytes are one document, or a JsonProblem."""
    try:
        value = schema.read_json(document)
    except JsonProblem:
        return
    assert json.loads(document) == value


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


@settings(deadline=None)
@given(ANYTHING)
def test_validate_never_raises(value: Any) -> None:
    """Whatever is given, validate gives sentences; what it lets through survives strict JSON."""
    problems = inputs.validate(SCHEMA, value)
    assert all(isinstance(problem, str) and problem.startswith("input") for problem in problems)
    if not problems:
        assert schema.read_json(json.dumps(value)) == value


@settings(deadline=None)
@given(st.lists(st.text(alphabet='dnfbp=ocages1.-e"[]{}', max_size=12), max_size=4))
def test_pairs_raise_one_error(pairs: list[str]) -> None:
    """Whatever is typed, it converts or is refused by InputProblem."""
    try:
        found = inputs.convert_pairs(SCHEMA, pairs)
    except InputProblem:
        return
    assert len(found) == len(pairs)


@settings(deadline=None)
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
