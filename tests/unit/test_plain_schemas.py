"""A schema that is said to be valid at a look is valid to jsonschema, in every draft that declarations may name."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofq.policies import plain_schemas, schema

DRAFTS = (
    jsonschema.Draft202012Validator, jsonschema.Draft201909Validator, jsonschema.Draft7Validator,
    jsonschema.Draft6Validator,
)  # fmt: skip
ODD = st.none() | st.booleans() | st.integers(-2, 2) | st.floats(-1.5, 1.5) | st.sampled_from(["string", "x", ""])
KEYWORDS = st.sampled_from([*plain_schemas._FITS, "$ref", "enum", "pattern"])
VALUES = st.recursive(
    ODD | st.sampled_from(sorted(plain_schemas.TYPES)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS, inner, max_size=3),
    max_leaves=12,
)

PLAIN: list[dict[str, Any]] = [
    {},
    {"type": "object"},
    {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string", "minLength": 1}}}},
    {"properties": {"n": {"minimum": -1.5, "title": "n"}}, "required": ["n"], "additionalProperties": False},
]


@given(st.dictionaries(KEYWORDS, VALUES, max_size=4))
def test_what_is_told_valid_is(said: dict[str, Any]) -> None:
    """Whatever stands in it."""
    if plain_schemas.is_valid(said):
        for draft in DRAFTS:
            draft.check_schema(said)


@pytest.mark.parametrize("said", PLAIN)
def test_what_most_declare_is_seen_at_a_look(said: dict[str, Any]) -> None:
    """Types, members, items, sizes."""
    assert plain_schemas.is_valid(said)
    schema.check(said)


@pytest.mark.parametrize(
    "said", [{"type": "text"}, {"type": ["string"]}, {"required": ["a", "a"]}, {"minItems": True}, {"items": [{}]},
             {"$ref": "#"}, {"properties": {"a": {"pattern": "["}}}, {"minLength": -1}, [], True]
)  # fmt: skip
def test_all_else_is_asked_about(said: Any) -> None:
    """What is wrong, and what is only rare."""
    assert not plain_schemas.is_valid(said)


def test_a_plain_schema_loads_no_jsonschema() -> None:
    """It takes 0.1 s to load, for each command."""
    lines = [
        "import sys",
        "from proofq.policies import schema",
        "schema.check({'type': 'object'})",
        "print('jsonschema' in sys.modules)",
    ]
    code = "\n".join(lines)
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
