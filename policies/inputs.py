"""Whether given inputs fit an agent's schema, and what `k=v` words mean under it.

Every message names the input and says what to do.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from typing import TYPE_CHECKING, Any

from proofq.policies import schema as json_schema
from proofq.policies.input_schema import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from proofq.policies.agent import JSON

#: All inputs of one task together, as compact UTF-8 JSON.
MAX_BYTES = 1024 * 1024
#: Nesting of lists and objects inside one input.
MAX_DEPTH = 32
#: Larger integers overflow the floats that other readers of our JSON use.
MAX_INTEGER_BITS = 1024

_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_INTEGER = re.compile(r"[+-]?[0-9]{1,300}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_SURROGATE = re.compile("[\ud800-\udfff]")


class InputProblem(ValueError):
    """Given inputs cannot be used. `problems` are sentences."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def validate(schema: Mapping[str, JSON] | None, inputs: JSON) -> list[str]:
    """Give what is wrong with `inputs`, as sentences; empty when they may be enqueued. Never raises.

    Without a schema (an undeclared agent) only what no agent could be given is refused. A required input
    may not be "", [] or null; {} is allowed. Names beside the declared ones are refused unless the schema
    speaks of them (additionalProperties, patternProperties).
    """
    if not isinstance(inputs, dict):
        return [f"inputs are an object of names and values, not {_shown(inputs)}"]
    found = _unusable(inputs)
    if found or schema is None:
        return found
    if _fits_plainly(schema, inputs):
        return []
    missing = _missing(schema, inputs)
    extra = _extra(schema, inputs)
    told = {*missing, *extra}
    found += [*missing.values(), *extra.values()]
    for finding in json_schema.findings(schema, inputs):
        if not finding.path and finding.rule in ("required", "additionalProperties"):
            continue  # said above, in our words
        if not (finding.path and finding.path[0] in told):
            found.append(_sentence(finding))
    return found


#: What a value of each type is, as a schema that says nothing else has it.
_PLAIN: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
_PLAIN_KEYWORDS = {"type", "properties", "required", "additionalProperties"}


def _fits_plainly(schema: Mapping[str, JSON], inputs: Mapping[str, JSON]) -> bool:
    """Whether every input is of its type, nothing is missing or beyond, and the schema asks for nothing else: what most
    schemas are, told at a tenth of what a validator takes. False says nothing."""
    if not schema.keys() <= _PLAIN_KEYWORDS or schema.get("type") != "object" or schema.get("additionalProperties"):
        return False
    declared, required = schema.get("properties"), schema.get("required", ())
    if not isinstance(declared, dict) or not isinstance(required, list | tuple):
        return False
    for name, value in inputs.items():
        one = declared.get(name)
        if not isinstance(one, dict) or len(one) != 1 or not isinstance(kind := one.get("type"), str):
            return False
        if type(value) not in _PLAIN.get(kind, ()) or value in ("", []):
            return False
    return all(name in inputs for name in required)


def complete(schema: Mapping[str, JSON], inputs: Mapping[str, JSON]) -> dict[str, JSON]:
    """Give `inputs` with the defaults of the schema filled in where a name is absent."""
    defaults = {
        name: declared["default"]
        for name, declared in schema.get("properties", {}).items()
        if isinstance(declared, dict) and "default" in declared
    }
    return {**defaults, **inputs}


def convert_pairs(schema: Mapping[str, JSON] | None, pairs: Iterable[str]) -> dict[str, JSON]:
    """Give the inputs that `k=v` words mean under the schema; without one every value is text.

    str as typed; int; float; bool is true or false; list and dict are JSON. Raises InputProblem for a
    word that is no pair, a name given twice or not declared, and a value of another type. The result
    still has to be validated.
    """
    found: dict[str, JSON] = {}
    problems: list[str] = []
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            problems.append(f"{_shown(pair)} is no input; write NAME=VALUE")
        elif name in found:
            problems.append(f"input {_printable(name)} is given twice; give it once")
        else:
            found[name] = None
            try:
                found[name] = _convert(name, text, schema)
            except InputProblem as problem:
                problems += problem.problems
    if problems:
        raise InputProblem(problems)
    return found


def _missing(schema: Mapping[str, JSON], inputs: Mapping[str, JSON]) -> dict[str, str]:
    """Give the required inputs that are absent or empty, with the sentence for each."""
    found: dict[str, str] = {}
    for name in schema.get("required", []):
        if name not in inputs:
            found[name] = f"input {name} is missing; give it with -i {name}=VALUE or in the inputs object"
        elif inputs[name] is None or inputs[name] == "" or inputs[name] == []:
            found[name] = f"input {name} is empty ({json.dumps(inputs[name])}); it is required, give it a value"
    return found


def _extra(schema: Mapping[str, JSON], inputs: Mapping[str, JSON]) -> dict[str, str]:
    """Give the inputs that are not declared, with the sentence for each."""
    if schema.get("additionalProperties", False) is not False or "patternProperties" in schema:
        return {}
    return {name: _undeclared(name, schema) for name in inputs if name not in names(schema)}


def _undeclared(name: str, schema: Mapping[str, JSON]) -> str:
    declared = sorted(names(schema))
    near = difflib.get_close_matches(name, declared, n=1)
    known = f"its inputs are {', '.join(declared)}" if declared else "the agent takes none"
    hint = f"did you mean {near[0]}?" if near else known
    return f"input {_printable(name)} is not declared; {hint}"


def _unusable(inputs: dict[Any, JSON]) -> list[str]:
    """Give what in `inputs` could not be stored or passed to any program."""
    if _is_plain(inputs):
        return []
    advice = "put the data into a file and give its path"
    if json_schema.depth_exceeds(inputs, MAX_DEPTH + 1):
        return [f"inputs are nested deeper than {MAX_DEPTH} levels; {advice}"]
    found = [f"input {where}: {what}" for where, what in _bad_values(inputs, "")]
    if found:
        return found[: json_schema.MAX_FINDINGS]
    size = len(json.dumps(inputs, ensure_ascii=False, separators=(",", ":")).encode("utf-8"))
    return [f"inputs take {size} bytes, more than {MAX_BYTES}; {advice}"] if size > MAX_BYTES else []


def _is_plain(inputs: dict[Any, JSON]) -> bool:
    """Whether all of them are short ASCII texts and numbers without anything odd: what most are, told at a look. False
    says nothing."""
    longest = 0
    for name, value in inputs.items():
        if type(name) is not str or not name.isascii() or "\0" in name:
            return False
        if type(value) is str:
            if not value.isascii() or "\0" in value:
                return False
            longest += len(value)
        elif value is not None and type(value) is not bool and (type(value) is not int or abs(value) >= 2**53):
            return False
        longest += len(name) + 32
    # In JSON a character may take six.
    return longest * 6 <= MAX_BYTES


def _bad_values(value: JSON, where: str) -> Iterator[tuple[str, str]]:
    """Yield (path, what is wrong) for every value JSON, a program or another reader could not carry."""
    if isinstance(value, dict):
        for key, each in value.items():
            if isinstance(key, str):
                step = f"{where}/{_printable(key)}" if where else _printable(key)
                yield from ((step, f"its name {what}") for _, what in _bad_values(key, step))
                yield from _bad_values(each, step)
            else:
                yield where or _shown(key), f"the name {_shown(key)} is no text; names in JSON are text"
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _bad_values(each, f"{where}/{index}")
    elif (what := _bad_scalar(value)) is not None:
        yield where, what


def _bad_scalar(value: JSON) -> str | None:
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        if "\0" in value:
            return "holds a NUL character, which no program can be given; remove it"
        return "holds half a surrogate pair, which is no Unicode text" if _SURROGATE.search(value) else None
    if isinstance(value, int):
        return "is too large a number; give it as text" if value.bit_length() > MAX_INTEGER_BITS else None
    if isinstance(value, float):
        return None if math.isfinite(value) else f"is {value}, which JSON cannot carry; give a finite number"
    return f"{type(value).__name__} is no JSON; give text, a number, true, false, null, a list or a dict"


def _convert(name: str, text: str, schema: Mapping[str, JSON] | None) -> JSON:
    if schema is None:
        return text
    properties = schema.get("properties", {})
    if name not in properties:
        if _extra(schema, {name: text}):
            raise InputProblem([_undeclared(name, schema)])
        return text
    kinds = [kind for kind in _kinds(properties[name]) if kind != "null"]
    # Text takes anything, so it is asked last.
    for kind in sorted(kinds, key=lambda each: each == "string"):
        value, fits = _parsed(kind, text)
        if fits:
            return value
    if not kinds:
        return text
    wanted = " or ".join(_WORDS.get(kind, kind) for kind in kinds)
    hint = "; write it as JSON" if {"array", "object"} & set(kinds) else ""
    raise InputProblem([f"input {name} is {_shown(text)}, and it takes {wanted}{hint}"])


def _kinds(declared: JSON) -> list[str]:
    """Give every type a property may have: its own, else those of its alternatives or of its constants."""
    if not isinstance(declared, dict):
        return []
    said = declared.get("type", [])
    kinds = [said] if isinstance(said, str) else list(said)
    for each in [*declared.get("anyOf", []), *declared.get("oneOf", [])]:
        kinds += _kinds(each)
    constants = declared.get("enum", [declared["const"]] if "const" in declared else [])
    return kinds or [_kind_of(each) for each in constants]


def _kind_of(value: JSON) -> str:
    by_type = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return by_type.get(type(value), "null")


def _parsed(kind: str, text: str) -> tuple[JSON, bool]:
    """Give (value, True) when the text is a value of the kind."""
    if kind == "string":
        return text, True
    if kind == "integer":
        return (int(text), True) if _INTEGER.fullmatch(text) else (None, False)
    if kind == "number":
        number = float(text) if _NUMBER.fullmatch(text) else math.nan
        return number, math.isfinite(number)
    if kind == "boolean":
        return text == "true", text in ("true", "false")
    try:
        value = json_schema.read_json(text)
    except json_schema.JsonProblem:
        return None, False
    return value, isinstance(value, list if kind == "array" else dict)


def _sentence(finding: json_schema.Finding) -> str:
    where = "/".join(_printable(str(step)) for step in finding.path)
    return f"input {where}: {finding.message}" if where else f"inputs: {finding.message}"


def _printable(text: str) -> str:
    return text if text.isprintable() and len(text) <= 80 else repr(text[:80])


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
