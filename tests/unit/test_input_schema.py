"""The schema of inputs: from sugar, from annotations, or a JSON Schema that reaches nowhere."""

from __future__ import annotations

import inspect
import socket
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

import pytest

from proofq.policies import input_schema, inputs, schema
from proofq.policies.agent import DeclarationProblem


def test_sugar() -> None:
    """Words of the sugar are JSON Schema; `?` may be left out or null."""
    assert input_schema.from_sugar({"doc": "str", "n": "int?"}) == {
        "type": "object",
        "properties": {"doc": {"type": "string"}, "n": {"type": ["integer", "null"]}},
        "required": ["doc"],
        "additionalProperties": False,
    }
    schema.check(input_schema.from_sugar({word: f"{word}{more}" for word in input_schema.SUGAR for more in ("", "?")}))
    assert input_schema.names(input_schema.from_sugar({"doc": "str", "n": "int?"})) == {"doc", "n"}


def _of(function: Callable[..., Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(function, include_extras=True)
    found = input_schema.from_parameters(list(inspect.signature(function).parameters.values()), hints)
    # Nobody checks it when it is declared, so it has to be valid.
    schema.check(found)
    return found


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
