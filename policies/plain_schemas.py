"""Schemas that are valid at a look: types, members, items and sizes, as nearly all are. The others ask jsonschema.

To load that takes 0.1 s, which every command and every process of a worker would pay for each project with a schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TYPES: Final = frozenset({"string", "integer", "number", "boolean", "array", "object", "null"})


def is_valid(schema: Any) -> bool:
    """Whether it is a schema for certain, of any draft since 6, that refers to nothing. False says nothing."""
    return isinstance(schema, dict) and all(key in _FITS and _FITS[key](value) for key, value in schema.items())


def _is_type(value: Any) -> bool:
    return isinstance(value, str) and value in TYPES


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_members(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) and is_valid(one) for name, one in value.items())


def _are_names(value: Any) -> bool:
    texts = isinstance(value, list) and all(isinstance(one, str) for one in value)
    return texts and len(set(value)) == len(value)


def _is_flag_or_schema(value: Any) -> bool:
    return isinstance(value, bool) or is_valid(value)


#: Keyword -> whether a value of it is one for certain.
_FITS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "type": _is_type,
    "title": _is_text,
    "description": _is_text,
    "properties": _are_members,
    "required": _are_names,
    "additionalProperties": _is_flag_or_schema,
    "items": _is_flag_or_schema,
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _is_size),
    **dict.fromkeys(("minimum", "maximum"), _is_number),
}
