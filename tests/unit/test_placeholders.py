"""Placeholders: what they expand to, and what may not stand in one."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proofq.policies import placeholders
from proofq.policies.placeholders import PlaceholderProblem

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"doc": {"type": "string"}, "out": {"type": "string", "default": "a.md"}, "n": {"type": "integer"}},
}


def _values(**inputs: Any) -> dict[str, Any]:
    return placeholders.values(SCHEMA, inputs, task_id="t1", attempt=2, workdir="/w", taskdir="/t", project="/p")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{doc}", "a b.txt"),
        ("x{doc}y{doc}", "xa b.txtya b.txt"),
        ("{task_id} {attempt} {workdir} {taskdir} {project}", "t1 2 /w /t /p"),
        ("{out}", "a.md"),  # absent, with a default
        ("[{n}]", "[]"),  # absent, without
        ("{{doc}}", "{doc}"),
        ("{{{doc}}}", "{a b.txt}"),
        ('{{"a":{{"b":1}}}}', '{"a":{"b":1}}'),
        ("{doc}}", "a b.txt}"),
        ("a } b", "a } b"),
    ],
)
def test_expands(template: str, text: str) -> None:
    """Inputs, built-in names, absent optionals and braces."""
    assert placeholders.expand(template, _values(doc="a b.txt")) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("é\n", "é\n"),
        (True, "true"),
        (False, "false"),
        (None, ""),
        (0, "0"),
        (1.5, "1.5"),
        ([1, "é", None], '[1,"é",null]'),
        ({"a": {"b": True}}, '{"a":{"b":true}}'),
        ([], "[]"),
        ("{doc}", "{doc}"),  # a value is never expanded again
    ],
)
def test_text_of_values(value: Any, text: str) -> None:
    """Booleans as words, lists and objects as compact JSON, nothing for null."""
    assert placeholders.expand("{doc}", _values(doc=value)) == text


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{", "{ opens no placeholder; write {{ where a brace is meant"),
        ('{"a": 1}', "opens no placeholder"),
        ("{a b}", "opens no placeholder"),
        ("{}", "opens no placeholder"),
        ("{doc.x}", "opens no placeholder"),
        ("{0}", "opens no placeholder"),
        ("{nope}", "{nope} is neither an input nor one of attempt, project, task_id, taskdir, workdir"),
    ],
)
def test_broken_templates(template: str, sentence: str) -> None:
    """A brace that opens no known placeholder is refused."""
    with pytest.raises(PlaceholderProblem) as caught:
        placeholders.expand(template, _values(doc="x"))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("value", ["a\0b", "\ud800", ["\0" * 2], {"x": "\udfff"}, float("nan"), object()])
def test_values_no_program_can_be_given(value: Any) -> None:
    """NUL, half surrogate pairs and what is no JSON are refused; JSON escapes the NUL inside a list."""
    if value == ["\0" * 2]:
        assert placeholders.expand("{doc}", _values(doc=value)) == '["\\u0000\\u0000"]'
        return
    with pytest.raises(PlaceholderProblem, match=r"the value of \{doc\}"):
        placeholders.expand("{doc}", _values(doc=value))


INJECTED = ["-rf", "--output=/etc/passwd", "-", "--"]


@pytest.mark.parametrize("value", INJECTED)
@pytest.mark.parametrize("command", [["rm", "{doc}"], ["rm", "{n}{doc}"], ["rm", "{doc}.txt"], ["{doc}"]])
def test_option_injection_is_refused(value: str, command: list[str]) -> None:
    """A value that the program would read as an option does not reach it."""
    with pytest.raises(PlaceholderProblem, match="starts with '-' and the program would read it as an option"):
        placeholders.expand_command(command, _values(doc=value))


@pytest.mark.parametrize("value", INJECTED)
@pytest.mark.parametrize(
    ("command", "argv"),
    [
        (["rm", "--", "{doc}"], ["rm", "--", "%s"]),
        (["rm", "--", "x", "{doc}"], ["rm", "--", "x", "%s"]),
        (["rm", "--file={doc}"], ["rm", "--file=%s"]),
        (["rm", "-f{doc}"], ["rm", "-f%s"]),
        (["rm", "./{doc}"], ["rm", "./%s"]),
    ],
)
def test_values_that_cannot_be_options_stand(value: str, command: list[str], argv: list[str]) -> None:
    """After `--`, or behind text of the template, a value may start as it likes."""
    expected = tuple(element.replace("%s", value) for element in argv)
    assert placeholders.expand_command(command, _values(doc=value)) == expected


def test_a_value_is_no_end_of_options() -> None:
    """Only a `--` of the template ends the options, not one that a value brings."""
    with pytest.raises(PlaceholderProblem, match="read it as an option"):
        placeholders.expand_command(["rm", "./{doc}", "{out}"], _values(doc="--", out="-x"))


def test_arguments_stay_whole() -> None:
    """One element is one argument, empty ones included."""
    argv = placeholders.expand_command(["p", "{doc}", "{n}", "a b"], _values(doc="x y; $(z)"))
    assert argv == ("p", "x y; $(z)", "", "a b")


@pytest.mark.parametrize(("length", "stands"), [(131071, True), (131072, False)])
def test_the_longest_argument(length: int, stands: bool) -> None:
    """Linux's limit of one argument is told before the program is started."""
    values = _values(doc="x" * length)
    if stands:
        assert len(placeholders.expand_command(["p", "{doc}"], values)[1]) == length
        return
    with pytest.raises(PlaceholderProblem, match="more than Linux passes to a program; pass it on stdin"):
        placeholders.expand_command(["p", "{doc}"], values)


def test_an_empty_program_is_refused() -> None:
    """A program that an absent input names is none."""
    with pytest.raises(PlaceholderProblem, match="names no program"):
        placeholders.expand_command(["{n}"], _values())


def test_options_of_a_proof() -> None:
    """Every string of a proof expands, at any depth; numbers and flags stay, and in params an input keeps its type."""
    options = {"path": "{workdir}/{doc}", "min_bytes": 1, "same_ok": True, "params": ["{doc}", 1, {"k": "{attempt}"}]}
    expected = {"path": "/w/x", "min_bytes": 1, "same_ok": True, "params": ["x", 1, {"k": 2}]}
    assert placeholders.expand_options(options, _values(doc="x")) == expected
    assert placeholders.names_in(options) == {"workdir", "doc", "attempt"}


@pytest.mark.parametrize(
    ("value", "declared", "bound"),
    [
        ("7", "string", "7"),
        (7, "integer", 7),
        (7, "number", 7.0),
        (7, ["number", "null"], 7.0),
        (True, "boolean", True),
        (None, ["string", "null"], None),
    ],
)
def test_params_and_equals_keep_types(value: Any, declared: Any, bound: Any) -> None:
    """A placeholder alone is the input's own value, a number as a float; beside other text it is text."""
    schema = {"type": "object", "properties": {"x": {"type": declared}}}
    given = {"x": value}
    options = {"params": ["{x}", "<{x}>"], "equals": "{x}", "db": "{x}"}
    expanded = placeholders.expand_options(options, given, placeholders.natives(schema, given))
    assert (expanded["equals"], type(expanded["equals"])) == (bound, type(bound))
    assert (expanded["params"][0], type(expanded["params"][0])) == (bound, type(bound))
    assert expanded["params"][1].startswith("<")
    assert isinstance(expanded["db"], str)


def test_the_argv_of_a_proof_is_held_to_the_rules_of_one() -> None:
    """An input that the program would read as an option is refused there too."""
    assert placeholders.expand_options({"argv": ["cmp", "--", "{doc}"]}, _values(doc="-s")) == {
        "argv": ["cmp", "--", "-s"]
    }
    with pytest.raises(PlaceholderProblem, match="would read it as an option"):
        placeholders.expand_options({"argv": ["cmp", "{doc}"]}, _values(doc="-s"))


@pytest.mark.parametrize("key", ["contains", "sha256"])
def test_a_proof_that_would_ask_nothing_is_refused(key: str) -> None:
    """An absent optional leaves an empty text, which any file contains; a text beside it still asks."""
    with pytest.raises(PlaceholderProblem, match="asks nothing"):
        placeholders.expand_options({key: "{doc}"}, _values(doc=None))
    assert placeholders.expand_options({key: "x{doc}"}, _values(doc=None)) == {key: "x"}


@pytest.mark.parametrize("options", [{"params": {"k": "{nope}"}}, {"schema": "{nope}/s.json"}])
def test_only_inline_schemas_keep_their_braces(options: dict[str, Any]) -> None:
    """An unknown name is refused in every other option, and in the path of a schema."""
    assert placeholders.names_in(options) == {"nope"}
    with pytest.raises(PlaceholderProblem, match=r"\{nope\} is neither an input nor"):
        placeholders.expand_options(options, _values())


def test_a_schema_in_a_proof() -> None:
    """In an inline schema known names expand and every other brace stays."""
    schema = {"const": "{doc}", "pattern": "^[a-z]{3}{nope}$", "description": "{{doc}}", "enum": [1, "{attempt}"]}
    expected = {"const": "x", "pattern": "^[a-z]{3}{nope}$", "description": "{doc}", "enum": [1, "2"]}
    assert placeholders.expand_options({"json_schema": schema}, _values(doc="x")) == {"json_schema": expected}
    assert placeholders.names_in({"json_schema": schema}) == frozenset()
    assert placeholders.names_in({"json_schema": "{project}/s.json"}) == {"project"}


def test_names_and_the_unknown_among_them() -> None:
    """The names of a template, and those that no input and nothing of ours has."""
    used = placeholders.names("{doc}{{x}}{b-c}{project}")
    assert used == {"doc", "b-c", "project"}
    assert placeholders.unknown(used, {"doc"}) == ["b-c"]


@given(st.text())
@example("{}")
@example("}}{{")
def test_doubled_braces_give_any_text(text: str) -> None:
    """Any text can be written: doubling its braces gives it back."""
    quoted = text.replace("{", "{{").replace("}", "}}")
    assert placeholders.names(quoted) == frozenset()
    assert placeholders.expand(quoted, {}) == text


@given(st.text(alphabet="{}doc -\0x\ud800", max_size=20), st.text(max_size=5) | st.integers() | st.none())
def test_nothing_but_the_documented_error(template: str, value: Any) -> None:
    """Whatever the template and the value, they expand or are refused by PlaceholderProblem."""
    argv: tuple[str, ...] = ()
    with contextlib.suppress(PlaceholderProblem):
        argv = placeholders.expand_command([template, template], {"doc": value})
    for argument in argv:
        assert not argument.startswith("-") or template.startswith("-")
