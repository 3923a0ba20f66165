"""The lines of a TOML text's keys."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofq.policies.toml_lines import line_of, lines

TEXT = '''modules = ["a", # one
  "b"]
[worker]
slots = 8

[agents.note]  # [agents.other]
command = ["a", "b ] [agents.x]",
  """
multi "quoted" = 3
""", 'it''s']
inputs = { a = "str", "b\\u0041" = 'x' }
since = 1979-05-27 07:32:00
[[agents.note.proofs]]
kind = "file"
[[agents.note.proofs]]
kind = "json"
[agents.note.proofs.schema]
type = "object"
[agents."we ird"]
x.y.z = -1e3
'''.replace("'it''s'", "'its'")

EXPECTED: list[tuple[tuple[str | int, ...], int]] = [
    (("modules", 0), 1),
    (("modules", 1), 2),
    (("worker", "slots"), 4),
    (("agents", "note"), 6),
    (("agents", "note", "command"), 7),
    (("agents", "note", "command", 2), 8),
    (("agents", "note", "inputs"), 11),
    (("agents", "note", "inputs", "bA"), 11),
    (("agents", "note", "since"), 12),
    (("agents", "note", "proofs", 0), 13),
    (("agents", "note", "proofs", 0, "kind"), 14),
    (("agents", "note", "proofs", 1, "kind"), 16),
    (("agents", "note", "proofs", 1, "schema", "type"), 18),
    (("agents", "we ird"), 19),
    (("agents", "we ird", "x", "y", "z"), 20),
]


@pytest.mark.parametrize(("path", "line"), EXPECTED)
def test_lines(path: tuple[str | int, ...], line: int) -> None:
    """Tables, arrays of tables, inline tables, strings over several lines, comments, dotted and quoted keys."""
    tomllib.loads(TEXT)
    assert lines(TEXT)[path] == line


def test_the_nearest_table() -> None:
    """A key that is not there has the line of the table it is missed in."""
    assert line_of(lines(TEXT), ("agents", "note", "proofs", 1, "nope")) == 15
    assert line_of(lines(TEXT), ("nope",)) is None


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *[each for key, under in inner for each in _paths(under, (*path, key))]]


KEY = st.text(alphabet="ab-_1", min_size=1, max_size=3) | st.sampled_from(['"q q"', "'s.s'", "a.b"])
VALUE = st.recursive(
    st.sampled_from(["1", "true", '"a # b"', "'''x\n]y'''", '"""\\"""\n"""', "1979-05-27 07:32:00", "inf"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: "[\n" + " , # c\n".join(items) + "\n]")
        | st.lists(st.tuples(KEY, inner), max_size=2).map(
            lambda items: "{" + ",".join(f"{k}={v}" for k, v in items) + "}"
        )
    ),
    max_leaves=5,
)
LINE = st.tuples(KEY, VALUE).map(" = ".join) | KEY.map("[{}]".format) | KEY.map("[[{}]]".format) | st.just("# c [x]")


@given(st.lists(LINE, max_size=8).map("\n".join))
def test_every_path_of_any_document_is_found(text: str) -> None:
    """Whatever tomllib accepts, each of its keys and elements has a line (implicit parent tables have none)."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    found = lines(text)
    implicit = {path[:length] for path in found for length in range(len(path))}
    assert [path for path in _paths(document) if path and path not in found and path not in implicit] == []


@given(st.text())
def test_any_text_gives_lines(text: str) -> None:
    """A text that is no TOML gives what was read of it, and never an error."""
    assert all(line >= 1 for line in lines(text).values())
