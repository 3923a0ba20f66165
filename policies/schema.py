"""Strict JSON and JSON Schema, as declarations, inputs and proofs need them: nothing guessed or fetched.

Schemas are Draft 2020-12 unless `$schema` names another known draft. Stricter than the standard in one
point: an integer is an integer, not 1.0.
"""

from __future__ import annotations

import json
import math
import re
from functools import cache, lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from proofq.policies import plain_schemas

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from proofq.policies.agent import JSON

#: At most so many findings of one value are told.
MAX_FINDINGS = 20
#: Deeper JSON than this is refused: every reader after us recurses too.
MAX_DEPTH = 64

_SURROGATE = re.compile("[\ud800-\udfff]")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


class JsonProblem(ValueError):
    """Not exactly one strict JSON document. The message says what is wrong and where."""


class SchemaProblem(ValueError):
    """Not a JSON Schema we can hold values to. The message says what is wrong and where."""


class Finding(NamedTuple):
    """One way in which a value breaks a schema."""

    #: Names and indexes that lead to the offending value; empty for the whole.
    path: tuple[str | int, ...]
    #: The schema's keyword that is broken, `type` or `required`, say; "" where the schema itself failed.
    rule: str
    message: str


def read_json(document: str | bytes) -> JSON:
    """Read exactly one JSON document; bytes must be UTF-8. White space around it is allowed, nothing else is.

    Raises JsonProblem for anything json.loads refuses, and for what it lets through: duplicate keys, NaN and
    Infinity, numbers too large for a float, half surrogate pairs, nesting deeper than `MAX_DEPTH`.
    """
    try:
        text = document.decode("utf-8") if isinstance(document, bytes) else document
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise JsonProblem(f"not UTF-8: byte {error.start} is {error.object[error.start]:#04x}") from error
    except UnicodeEncodeError as error:
        where = _half_pair(value)
        raise JsonProblem(f"{where} holds half a surrogate pair, which is no Unicode text") from error
    except json.JSONDecodeError as error:
        raise JsonProblem(f"not one JSON document: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except JsonProblem:
        raise
    except RecursionError as error:
        raise JsonProblem(f"nested deeper than {MAX_DEPTH} levels") from error
    except ValueError as error:  # an integer of more digits than Python converts
        raise JsonProblem(f"not usable as JSON: {error}") from error
    if depth_exceeds(value, MAX_DEPTH):
        raise JsonProblem(f"nested deeper than {MAX_DEPTH} levels")
    return value


def depth_exceeds(value: JSON, limit: int) -> bool:
    """Tell whether lists and objects are nested deeper than `limit`. Looks no deeper, whatever the depth."""
    level: list[JSON] = [value]
    for _ in range(limit):
        level = [
            each
            for container in level
            if isinstance(container, dict | list | tuple)
            for each in (container.values() if isinstance(container, dict) else container)
        ]
        if not level:
            return False
    return any(isinstance(each, dict | list | tuple) for each in level)


def check(schema: Mapping[str, JSON]) -> None:
    """Raise SchemaProblem unless `schema` is a valid JSON Schema whose references all stay inside it."""
    check_json(schema)
    if plain_schemas.is_valid(schema):
        return
    validator = _validator(schema)
    from jsonschema.exceptions import SchemaError

    try:
        type(validator).check_schema(schema)
    except SchemaError as error:
        where = "/".join(str(step) for step in error.absolute_path)
        raise SchemaProblem(
            f"not a valid JSON Schema{f' at {where}' if where else ''}: {_short(error.message)}"
        ) from error
    except Exception as error:
        raise SchemaProblem(f"not a valid JSON Schema: {_short(str(error))}") from error
    _check_references(schema)


def check_json(schema: Mapping[str, JSON]) -> None:
    """Raise SchemaProblem unless `schema` is JSON that is not too deep: all that is open of one we put together."""
    if depth_exceeds(schema, MAX_DEPTH):
        raise SchemaProblem(f"the schema is nested deeper than {MAX_DEPTH} levels")
    try:
        json.dumps(schema, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SchemaProblem(f"a schema is JSON, and this is none: {error}") from error


def findings(schema: Mapping[str, JSON], value: JSON) -> list[Finding]:
    """Give the ways in which `value` breaks `schema`, at most `MAX_FINDINGS`. Never raises."""
    try:
        errors = list(islice(_validator(schema).iter_errors(value), MAX_FINDINGS))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is no schema
        kind = type(error).__name__.lstrip("_")
        return [Finding((), "", f"could not be checked against its schema: {kind}: {_short(str(error))}")]
    return [Finding(tuple(each.absolute_path), str(each.validator), _short(each.message)) for each in errors]


def problems(schema: Mapping[str, JSON], value: JSON) -> list[str]:
    """Give `findings` as sentences, "items/0/price: 'x' is not of type 'number'"."""
    return [
        f"{'/'.join(str(step) for step in each.path)}: {each.message}" if each.path else each.message
        for each in findings(schema, value)
    ]


def _validator(schema: Mapping[str, JSON]) -> Any:
    if not isinstance(schema, dict):
        raise SchemaProblem('a schema is an object (a table), such as {type = "object"}')
    return _compiled(json.dumps(schema))


@lru_cache(maxsize=256)
def _compiled(text: str) -> Any:
    """Kept by the schema's text: to make a validator takes 40 times as long as to use it, and every task needs one
    several times."""
    # Imported here: jsonschema costs 100 ms, and most commands never check a value.
    from referencing import Registry

    schema = json.loads(text)
    # An empty registry of our own: the default one would fetch what a reference names.
    return _strict(schema.get("$schema"))(schema, registry=Registry())


def _strict(dialect: JSON) -> Any:
    from jsonschema import Draft202012Validator

    base = Draft202012Validator if dialect is None else _draft(dialect)
    if base is None:
        raise SchemaProblem(f"$schema {dialect!r} is no draft we know; use Draft 2020-12 or leave $schema out")
    return _extended(base)


@cache
def _extended(base: Any) -> Any:
    """A draft whose integers are ours. Kept: it makes a class, which takes longer than all the rest of a schema."""
    from jsonschema.validators import extend

    checker = base.TYPE_CHECKER.redefine("integer", _is_integer)
    return extend(base, type_checker=checker)  # type: ignore[no-untyped-call]


def _draft(dialect: JSON) -> Any:
    from jsonschema.validators import validator_for

    unknown: Any = None
    return validator_for({"$schema": dialect}, default=unknown) if isinstance(dialect, str) else None


def _check_references(schema: Mapping[str, JSON]) -> None:
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012, specification_with

    for path, key, target in _strings(schema, ()):
        where = "/".join((*path, key))
        if key == "$id" and path:
            raise SchemaProblem(f"{where}: a schema inside a schema may not have an $id of its own; use $defs")
        if key in _REFERENCES and not target.startswith("#"):
            raise SchemaProblem(f"{where}: {target!r} is outside this schema and is never fetched; copy it into $defs")
    local = {key: each for key, each in schema.items() if key not in ("$id", "$schema")}
    dialect = schema.get("$schema")
    specification = specification_with(dialect) if isinstance(dialect, str) else DRAFT202012
    resolver = Registry().with_resource("", specification.create_resource(local)).resolver()
    for path, key, target in _strings(local, ()):
        if key in _REFERENCES:
            try:
                resolver.lookup(target)
            except (Unresolvable, ValueError) as error:
                raise SchemaProblem(f"{'/'.join((*path, key))}: {target!r} names nothing in this schema") from error


def _strings(node: JSON, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Yield (path, key, text) of every string under `$id` and the reference keywords."""
    if isinstance(node, dict):
        for key, each in node.items():
            if isinstance(each, str) and key in ("$id", *_REFERENCES):
                yield path, key, each
            else:
                yield from _strings(each, (*path, str(key)))
    elif isinstance(node, list):
        for index, each in enumerate(node):
            yield from _strings(each, (*path, str(index)))


def _object(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    found: dict[str, JSON] = {}
    for key, value in pairs:
        if key in found:
            raise JsonProblem(f"the key {_short(key)!r} stands twice in one object")
        found[key] = value
    return found


def _half_pair(value: JSON) -> str:
    """Where a string with half a surrogate pair stands, in words; the first that is found."""
    level: list[tuple[str, JSON]] = [("", value)]
    while level:
        where, one = level.pop()
        if isinstance(one, str) and _SURROGATE.search(one):
            return f"the string at {where}" if where else "a string"
        if isinstance(one, dict):
            for key, each in one.items():
                if _SURROGATE.search(key):
                    return f"a name in {where}" if where else "a name"
                level.append((f"{where}/{_short(key)}" if where else _short(key), each))
        elif isinstance(one, list):
            level += [(f"{where}/{index}" if where else str(index), each) for index, each in enumerate(one)]
    return "a string"


def _constant(word: str) -> JSON:
    raise JsonProblem(f"{word} is no JSON number")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise JsonProblem(f"the number {_short(text)} is too large")
    return number


def _is_integer(_checker: object, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _short(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:200]} ... {text[-80:]}"
