"""Strict JSON: exactly one document, read as every other reader would."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofq.policies import schema
from proofq.policies.schema import JsonProblem

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


@given(JSON_VALUES, st.text(alphabet=" \t\r\n", max_size=3))
def test_strict_json_gives_back_what_was_written(value: Any, space: str) -> None:
    """What json.dumps writes is read back, white space around it allowed."""
    assert schema.read_json((space + json.dumps(value) + space).encode()) == value


@given(st.text() | st.binary())
def test_reading_raises_one_error(document: str | bytes) -> None:
    """Any text or bytes are one document, or a JsonProblem."""
    try:
        value = schema.read_json(document)
    except JsonProblem:
        return
    assert json.loads(document) == value


def test_a_schema_that_was_changed_is_judged_as_it_is_now():
    """What is kept of a schema is found by what it says, not by which object it is."""
    declared: dict[str, str] = {"type": "integer"}
    assert schema.problems(declared, "a") != []
    declared["type"] = "string"
    assert schema.problems(declared, "a") == []
    assert schema.problems({"type": "integer"}, "a") != []
