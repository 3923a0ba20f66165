"""Exactly one strict JSON document, or the reason why not."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofq.policies.strict_json import NotStrict, check_value, parse

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcé\u0001", max_size=3), inner, max_size=4),
    max_leaves=20,
)

STRICT = [
    (b"null", None),
    (b' \r\n\t{"a": [1, 2.5, true]}\n ', {"a": [1, 2.5, True]}),
    (b'"\xc3\xa9\\ud83d\\ude00"', "é\U0001f600"),
    (b'"\\\\ud800"', "\\ud800"),
    (b"[" * 60 + b"]" * 60, None),
    (b"9" * 400, int("9" * 400)),
    (b"-0", 0),
    (b'{"a": {"a": 1}}', {"a": {"a": 1}}),
]

LOOSE = {
    "nothing": b"",
    "white space alone": b" \n\t",
    "byte order mark": b"\xef\xbb\xbf{}",
    "byte order mark after space": b" \xef\xbb\xbf{}",
    "code fence": b"```json\n{}\n```",
    "text before": b"Here is the JSON: {}",
    "text after": b"{} done",
    "second document": b"{}{}",
    "second line": b'{"a":1}\n{"a":2}\n',
    "duplicate keys": b'{"a":1,"b":2,"a":3}',
    "duplicate keys, one escaped": b'{"a":1,"\\u0061":2}',
    "duplicate keys deep inside": b'[[{"x":{"k":1,"k":1}}]]',
    "NaN": b"[NaN]",
    "Infinity": b'{"a":Infinity}',
    "-Infinity": b"-Infinity",
    "a float that overflows": b"[1e999]",
    "a half surrogate pair": b'["\\ud800"]',
    "a half surrogate pair as key": b'{"\\udfff":1}',
    "surrogates as bytes": b'"\xed\xa0\x80"',
    "not UTF-8": b'"\xff"',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "single quotes": b"{'a':1}",
    "trailing comma": b"[1,]",
    "a comment": b"{} // yes",
    "a leading zero": b"[01]",
    "a control character": b'"a\x01b"',
    "a NUL after": b"{}\x00",
    "half a document": b'{"a": [1, 2',
    "a non-breaking space around": b"\xc2\xa0{}",
    "too deep": b"[" * 80 + b"]" * 80,
    "a depth bomb": b"[" * 1_000_000,
    "a depth bomb of objects": b'{"a":' * 200_000,
    "too many digits": b"9" * 100_000,
    "a fraction without digits": b"1.",
}


@pytest.mark.parametrize(("data", "value"), STRICT)
def test_strict_documents_are_read(data: bytes, value: object) -> None:
    """What the standard allows is read, white space around it included."""
    read = parse(data)
    assert value is None or read == value


@pytest.mark.parametrize("data", LOOSE.values(), ids=LOOSE.keys())
def test_loose_documents_are_refused(data: bytes) -> None:
    """What json.loads lets through, or a kind reader would guess at, is refused with a reason."""
    with pytest.raises(NotStrict) as refused:
        parse(data)
    assert 0 < len(refused.value.reason) < 500


def test_length_is_bounded() -> None:
    """A document of the cap is read, one byte more is not."""
    assert parse(b'"ab"', max_bytes=4) == "ab"
    with pytest.raises(NotStrict, match="longer than 4 bytes"):
        parse(b'"abc"', max_bytes=4)


@given(JSON_VALUES)
def test_what_is_written_reads_back(value: object) -> None:
    """Every JSON value survives being written and read."""
    assert parse(json.dumps(value).encode()) == value
    assert check_value(value) == value


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Nothing but NotStrict comes out, and what is read is what json.loads reads."""
    try:
        value = parse(data)
    except NotStrict:
        return
    assert value == json.loads(data)


@pytest.mark.parametrize("value", [math.nan, math.inf, "\ud800", {"a": object()}, b"bytes", {1, 2}])
def test_values_that_are_no_json_are_refused(value: object) -> None:
    """A function's value is held to the same rules as text."""
    with pytest.raises(NotStrict):
        check_value(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    """A cycle ends in a refusal, not in a hang."""
    cycle: list[object] = []
    cycle.append(cycle)
    with pytest.raises(NotStrict):
        check_value(cycle)
