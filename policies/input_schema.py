"""How a declaration says its inputs: the toml sugar, a function's annotations, or a JSON Schema of their own.

Each gives the JSON Schema of one object, or raises DeclarationProblem with the name of the bad input as
`key`.
"""

from __future__ import annotations

from inspect import Parameter
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from proofq.policies import schema as json_schema
from proofq.policies.agent import DeclarationProblem
from proofq.policies.placeholders import BUILTIN, NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from proofq.policies.agent import JSON

SUGAR: dict[str, str] = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
}
_ANNOTATIONS: dict[object, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}
_BY_POSITION = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD, Parameter.POSITIONAL_ONLY)


def from_sugar(declared: JSON) -> dict[str, JSON]:
    """Give the JSON Schema of `{doc = "str", pages = "int?"}`; `?` may be left out or null."""
    if not isinstance(declared, dict):
        raise DeclarationProblem(
            'inputs is a table of names and types, such as { doc = "str", pages = "int?" }',
        )
    properties: dict[str, JSON] = {}
    required: list[str] = []
    for name, word in declared.items():
        kind = SUGAR.get(word.removesuffix("?")) if isinstance(word, str) else None
        if kind is None:
            raise DeclarationProblem(
                f"input {name} is {word!r}; a type is one of {' '.join(SUGAR)}, with ? where it may be "
                "left out (for more, write inputs_schema)",
                key=(name,),
            )
        optional = word.endswith("?")
        properties[name] = {"type": [kind, "null"] if optional else kind}
        if not optional:
            required.append(name)
    return _ours(properties, required)


def from_parameters(parameters: Iterable[Parameter], hints: Mapping[str, object]) -> dict[str, JSON]:
    """Give the JSON Schema of a function's parameters (ctx left out) from its annotations.

    A default makes an input optional and is kept as `default` where JSON can carry it. `X | None` may be
    null, and without a default it is None when left out. A parameter without annotation takes any JSON
    value.
    """
    properties: dict[str, JSON] = {}
    required: list[str] = []
    for parameter in parameters:
        name = parameter.name
        if parameter.kind in _BY_POSITION:
            raise DeclarationProblem(
                f"parameter {name}: inputs are passed by name; write plain parameters, without *, ** and /",
                key=(name,),
            )
        declared = _from_annotation(name, hints.get(name, Any))
        if parameter.default is None or (parameter.default is Parameter.empty and _may_be_null(declared)):
            declared = {**_nullable(declared), "default": None}
        elif parameter.default is Parameter.empty:
            required.append(name)
        elif _is_json(parameter.default):
            declared = {**declared, "default": parameter.default}
        properties[name] = declared
    return _ours(properties, required)


def from_schema(schema: JSON) -> dict[str, JSON]:
    """Check a JSON Schema as the schema of an inputs object and give it back with its type said."""
    if not isinstance(schema, dict):
        raise DeclarationProblem("inputs_schema is a JSON Schema of an object, or the path of a file with one")
    try:
        json_schema.check(schema)
    except json_schema.SchemaProblem as error:
        raise DeclarationProblem(f"inputs_schema: {error}") from error
    return _of_object(schema)


def _ours(properties: dict[str, JSON], required: list[str]) -> dict[str, JSON]:
    """What `from_schema` gives of these, without holding it against the schema of schemas: that takes 5 ms each and
    100 ms of imports, at every start of a worker or a command, and what is put together here is always valid."""
    schema: dict[str, JSON] = {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    try:
        json_schema.check_json(schema)
    except json_schema.SchemaProblem as error:
        raise DeclarationProblem(f"inputs_schema: {error}") from error
    return _of_object(schema)


def _of_object(schema: dict[str, JSON]) -> dict[str, JSON]:
    if schema.get("type", "object") != "object":
        raise DeclarationProblem('inputs_schema: inputs are an object of names; say "type": "object"')
    for name in schema.get("properties", {}):
        if not NAME.fullmatch(name):
            raise DeclarationProblem(
                f"input {name!r}: a name is letters, digits, _ and -, and starts with a letter or _",
                key=(name,),
            )
        if name in BUILTIN:
            raise DeclarationProblem(
                f"input {name} is a placeholder of ours ({', '.join(sorted(BUILTIN))}); rename it",
                key=(name,),
            )
    closed = not schema.get("additionalProperties") and "patternProperties" not in schema
    undeclared = sorted(set(schema.get("required", [])) - names(schema)) if closed else []
    if undeclared:
        raise DeclarationProblem(
            f"inputs_schema: {undeclared[0]} is required but not among the properties; declare it",
            key=(undeclared[0],),
        )
    return {**schema, "type": "object"}


def names(schema: Mapping[str, JSON]) -> frozenset[str]:
    """Give the names of the declared inputs."""
    return frozenset(schema.get("properties", {}))


def _from_annotation(name: str, annotation: Any) -> dict[str, JSON]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Any or annotation is object:
        return {}
    if annotation is NoneType or annotation is None:
        return {"type": "null"}
    if isinstance(annotation, type) and origin is None and annotation in _ANNOTATIONS:
        return {"type": _ANNOTATIONS[annotation]}
    if origin is Annotated:
        return _from_annotation(name, arguments[0])
    if origin is Literal and all(isinstance(each, str | int | bool | NoneType) for each in arguments):
        return {"enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": _from_annotation(name, arguments[0])}
    if origin is dict and arguments[0] is str:
        return {"type": "object", "additionalProperties": _from_annotation(name, arguments[1])}
    if origin is Union or origin is UnionType:
        return _from_union(name, arguments)
    shown = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    raise DeclarationProblem(
        f"parameter {name}: {shown} is no type of an input; use str, int, float, bool, list, dict, "
        "list[...], dict[str, ...], Literal[...] or X | None",
        key=(name,),
    )


def _from_union(name: str, arguments: tuple[Any, ...]) -> dict[str, JSON]:
    some = [each for each in arguments if each is not NoneType]
    alternatives = [_from_annotation(name, each) for each in some]
    declared = alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives}
    return _nullable(declared) if len(some) < len(arguments) else declared


def _may_be_null(declared: Mapping[str, JSON]) -> bool:
    return (
        "null" in declared.get("type", [])
        or any(_may_be_null(each) for each in declared.get("anyOf", []))
        or None in declared.get("enum", [])
    )


def _nullable(declared: dict[str, JSON]) -> dict[str, JSON]:
    if not declared or _may_be_null(declared):
        return declared
    if "type" in declared:
        return {**declared, "type": [declared["type"], "null"]}
    return {"anyOf": [*declared.get("anyOf", [declared]), {"type": "null"}]}


def _is_json(value: object) -> bool:
    if value is None or isinstance(value, str | bool | int | float):
        return True
    if isinstance(value, list):
        return all(_is_json(each) for each in value)
    return isinstance(value, dict) and all(isinstance(key, str) and _is_json(each) for key, each in value.items())
