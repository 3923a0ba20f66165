"""Placeholders of a declaration: `{name}` is an input or one of `BUILTIN`; `{{` and `}}` are braces.

They hold in command, cwd, stdin, env values and every string of a proof. Text of a value: str as it is,
numbers as JSON, bool true or false, list and dict compact JSON, an absent optional nothing at all.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from proofq.policies.agent import JSON

#: Names every declaration may use beside its inputs; no input may be called so.
BUILTIN = frozenset({"task_id", "attempt", "workdir", "taskdir", "project"})
#: Options of proofs that hold a JSON Schema, whose own braces (`^[0-9]{4}$`) are no placeholders.
SCHEMA_OPTIONS = frozenset({"schema", "json_schema"})
#: Options of proofs whose values keep their JSON types: a text that is one placeholder becomes the input's own value.
NATIVE_OPTIONS = frozenset({"params", "equals"})
#: Options of proofs that are an argv, and held to the rules of one.
ARGV_OPTIONS = frozenset({"argv"})
#: Options of proofs that ask nothing where they are empty, so that any file would do.
ASKING_OPTIONS = frozenset({"contains", "sha256"})
#: Linux refuses a single argument of more bytes than this, its closing NUL included (MAX_ARG_STRLEN).
MAX_ARGUMENT_BYTES = 131072

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_TOKEN = re.compile(r"\{\{|\}\}|\{(?P<name>" + NAME.pattern + r")\}|\{")
_IN_SCHEMA = re.compile(r"\{(?P<quoted>\{" + NAME.pattern + r"\})\}|\{(?P<name>" + NAME.pattern + r")\}")
_SURROGATE = re.compile("[\ud800-\udfff]")


class PlaceholderProblem(ValueError):
    """A template cannot be read, or a value may not stand where it is put. The message says what to do."""


def names(template: str) -> frozenset[str]:
    """Give the names a template uses. Raises PlaceholderProblem for a brace that opens no placeholder."""
    return frozenset(name for _, name in _tokens(template) if name is not None)


def names_in(value: JSON, *, schema: bool = False) -> frozenset[str]:
    """Give the names every string of a proof's options uses. Strings inside a schema are never refused."""
    found: set[str] = set()
    if isinstance(value, str):
        found |= set() if schema else names(value)
    elif isinstance(value, dict):
        for key, each in value.items():
            found |= names_in(each, schema=schema or (key in SCHEMA_OPTIONS and isinstance(each, dict)))
    elif isinstance(value, list | tuple):
        for each in value:
            found |= names_in(each, schema=schema)
    return frozenset(found)


def values(
    schema: Mapping[str, JSON],
    inputs: Mapping[str, JSON],
    *,
    task_id: str,
    attempt: int,
    workdir: str,
    taskdir: str,
    project: str,
) -> dict[str, JSON]:
    """Give the value of every name a template may use; an absent optional is its schema's default."""
    declared = schema.get("properties")
    found: dict[str, JSON] = {}
    for name, each in (declared if isinstance(declared, dict) else {}).items():
        found[name] = each.get("default") if isinstance(each, dict) else None
    found.update(inputs)
    found.update(task_id=task_id, attempt=attempt, workdir=workdir, taskdir=taskdir, project=project)
    return found


def expand(template: str, values: Mapping[str, JSON]) -> str:
    """Expand one template. Raises PlaceholderProblem for an unknown name, a NUL or half a surrogate pair."""
    return "".join(literal if name is None else _text(name, values) for literal, name in _tokens(template))


def expand_command(command: Sequence[str], values: Mapping[str, JSON]) -> tuple[str, ...]:
    """Expand an argv template, one argument for each element.

    Raises PlaceholderProblem as `expand` does, and for an option injected by a value: an element that
    begins with a placeholder, expands to something that begins with `-`, and has no `--` before it in the
    template. Also for an empty program, and for an argument longer than Linux takes (131,071 bytes).
    """
    argv: list[str] = []
    options_ended = False
    for element in command:
        argument = expand(element, values)
        if argument.startswith("-") and not element.startswith("-") and not options_ended:
            raise PlaceholderProblem(
                f"the value of {element} starts with '-' and the program would read it as an option; "
                f'put "--" before {element} in the command, or write --option={element}, or use stdin'
            )
        if len(argument.encode("utf-8", "surrogatepass")) >= MAX_ARGUMENT_BYTES:
            raise PlaceholderProblem(
                f"the argument {_short(element)} is longer than {MAX_ARGUMENT_BYTES - 1} bytes, "
                "more than Linux passes to a program; pass it on stdin"
            )
        options_ended = options_ended or element == "--"
        argv.append(argument)
    if not argv or not argv[0]:
        raise PlaceholderProblem("the command names no program: its first element is empty")
    return tuple(argv)


def natives(schema: Mapping[str, JSON], values: Mapping[str, JSON]) -> dict[str, JSON]:
    """Give the values as a database has them: an input that is declared a number is a float, also when 5 was given."""
    declared = schema.get("properties")
    found = dict(values)
    for name, each in (declared if isinstance(declared, dict) else {}).items():
        value = found.get(name)
        types = each.get("type") if isinstance(each, dict) else None
        if type(value) is int and (types == "number" or (isinstance(types, list) and "number" in types)):
            found[name] = float(value)
    return found


def expand_options(
    options: Mapping[str, JSON], values: Mapping[str, JSON], natives: Mapping[str, JSON] | None = None
) -> dict[str, JSON]:
    """Expand every string of a proof's options. `natives`: the values of `NATIVE_OPTIONS`, `values` where not given.

    Inside an inline schema only `{name}` of a known name is expanded, `{{name}}` quotes it, and every
    other brace stays, since regular expressions are full of them. An argv is held to the rules of `expand_command`, and
    what a file is to contain may not come out empty.
    """
    return {key: _expand_option(key, each, values, natives or values) for key, each in options.items()}


def _expand_option(key: str, value: JSON, values: Mapping[str, JSON], natives: Mapping[str, JSON]) -> JSON:
    if key in SCHEMA_OPTIONS and isinstance(value, dict):
        return _expand_schema(value, values)
    if key in NATIVE_OPTIONS:
        return _expand_native(value, natives)
    if key in ARGV_OPTIONS and isinstance(value, list | tuple):
        return list(expand_command(value, values))
    expanded = _expand_tree(value, values)
    if key in ASKING_OPTIONS and expanded == "":
        raise PlaceholderProblem(
            f"{key} of a proof, {_short(str(value))}, comes out empty and asks nothing; give it text"
        )
    return expanded


def unknown(used: Iterable[str], inputs: Iterable[str]) -> list[str]:
    """Give the used names that are neither an input nor built in, sorted."""
    return sorted(set(used) - set(inputs) - BUILTIN)


@lru_cache(maxsize=1024)
def _tokens(template: str) -> tuple[tuple[str, str | None], ...]:
    """(literal text, None) and ("", name) in order."""
    return tuple(_each_token(template))


def _each_token(template: str) -> Iterator[tuple[str, str | None]]:
    at = 0
    for match in _TOKEN.finditer(template):
        if match.start() > at:
            yield template[at : match.start()], None
        at = match.end()
        if match["name"] is not None:
            yield "", match["name"]
        elif match[0] == "{":
            raise PlaceholderProblem(
                f"{_short(template[match.start() :])} opens no placeholder; write {{{{ where a brace is meant"
            )
        else:
            yield match[0][0], None
    if at < len(template):
        yield template[at:], None


def _expand_tree(value: JSON, values: Mapping[str, JSON]) -> JSON:
    if isinstance(value, str):
        return expand(value, values)
    if isinstance(value, dict):
        return {key: _expand_tree(each, values) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_expand_tree(each, values) for each in value]
    return value


def _expand_native(value: JSON, values: Mapping[str, JSON]) -> JSON:
    if isinstance(value, str):
        tokens = _tokens(value)
        name = tokens[0][1] if len(tokens) == 1 else None
        return values[name] if name is not None and name in values else expand(value, values)
    if isinstance(value, dict):
        return {key: _expand_native(each, values) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_expand_native(each, values) for each in value]
    return value


def _expand_schema(value: JSON, values: Mapping[str, JSON]) -> JSON:
    if isinstance(value, str):
        return _IN_SCHEMA.sub(lambda match: _in_schema(match, values), value)
    if isinstance(value, dict):
        return {key: _expand_schema(each, values) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_expand_schema(each, values) for each in value]
    return value


def _in_schema(match: re.Match[str], values: Mapping[str, JSON]) -> str:
    quoted, name = match["quoted"], match["name"]
    if quoted is not None:
        return quoted if quoted[1:-1] in values else match[0]
    return _text(name, values) if name in values else match[0]


def _text(name: str, values: Mapping[str, JSON]) -> str:
    if name not in values:
        raise PlaceholderProblem(f"{{{name}}} is neither an input nor one of {', '.join(sorted(BUILTIN))}")
    value = values[name]
    if value is None:
        return ""
    text = value if isinstance(value, str) else _json_text(name, value)
    if "\0" in text:
        raise PlaceholderProblem(f"the value of {{{name}}} holds a NUL character, which no program can be given")
    if _SURROGATE.search(text):
        raise PlaceholderProblem(f"the value of {{{name}}} holds half a surrogate pair, which is no Unicode text")
    return text


def _json_text(name: str, value: JSON) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise PlaceholderProblem(f"the value of {{{name}}} is no JSON: {error}") from error


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
