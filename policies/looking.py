"""Looking at foreign objects without being hurt: every look is guarded, none reads from the network.

An attribute of somebody else's exception may be a property that raises, blocks or reads from a socket. Only names that
are known to be safe are asked for (never `.text`, `.read()`, `.json()`), and whatever a look raises is "not there". A
property is asked where it belongs to a library that is known, or where it calls nothing and does not loop: what it
hands out then is there already. `__getattr__` is not asked at all.
"""

from __future__ import annotations

import dis
from functools import cached_property, lru_cache
from types import CodeType, FunctionType
from typing import Any, Final

from proofq.policies import error_names

#: Characters of one text that are looked at. An error's text can be a whole page.
MAX_TEXT: Final = 20_000
#: Packages whose properties of the names that are asked for have been looked at: they compute, and touch no network.
_TRUSTED: Final = error_names.PROVIDERS | error_names.STORES | {"concurrent", "subprocess", "proofq"}
#: What an instruction of Python's begins with that might take its time.
_ACTS: Final = ("CALL", "PRECALL", "SEND", "YIELD", "IMPORT", "JUMP_BACKWARD", "FOR_ITER")
#: Frames of one traceback that are looked at.
MAX_FRAMES: Final = 1000
#: Items of one mapping or list of somebody else's that are looked at.
MAX_ITEMS: Final = 200


def attribute(thing: object, name: str) -> Any:
    """The attribute; None where there is none, where looking at it raised, or where it might do more than be there."""
    try:
        found = next((base.__dict__[name] for base in type(thing).__mro__ if name in base.__dict__), None)
        if isinstance(found, property | cached_property) and not _is_harmless(found):
            # What a cached property has found already is in the object's own dictionary.
            return stored(thing, name) if isinstance(found, cached_property) else None
        return object.__getattribute__(thing, name)
    except Exception:  # noqa: BLE001 - somebody else's property, or none
        return None


def _is_harmless(member: property | cached_property[Any]) -> bool:
    getter = member.fget if isinstance(member, property) else member.func
    if not isinstance(getter, FunctionType):
        return getter is not None
    return str(getter.__module__).split(".")[0] in _TRUSTED or _only_hands_out(getter.__code__)


@lru_cache(maxsize=512)
def _only_hands_out(code: CodeType) -> bool:
    """Whether a function neither calls anything nor loops nor imports."""
    return not any(one.opname.startswith(_ACTS) for one in dis.get_instructions(code))


def stored(thing: object, name: str) -> Any:
    """What the object keeps under this name in its own dictionary: no property is asked, nothing can be read."""
    try:
        return vars(thing).get(name)
    except Exception:  # noqa: BLE001 - objects without a dictionary, or with an odd one
        return None


def text(thing: object) -> str:
    """`str` of it, cut; "" when that raises. Bytes are decoded."""
    try:
        if isinstance(thing, bytes | bytearray):
            return bytes(thing[:MAX_TEXT]).decode("utf-8", "replace")
        return str(thing)[:MAX_TEXT]
    except Exception:  # noqa: BLE001 - somebody else's __str__
        return ""


def names(thing: object) -> tuple[str, ...]:
    """Names of its type and of that type's bases, most derived first."""
    return tuple(one.__name__ for one in type(thing).__mro__)


def packages(thing: object) -> frozenset[str]:
    """Top-level packages in which its type and that type's bases were written."""
    return frozenset(str(one.__module__).split(".")[0] for one in type(thing).__mro__)


def pairs(thing: object) -> list[tuple[str, object]]:
    """Pairs out of a mapping or a list of pairs (headers, metadata), names as text; empty when it is neither.

    Of a name that has a list of values, as in the metadata of gRPC's asynchronous half, the first.
    """
    try:
        own = getattr(thing, "items", None)
        all_: Any = own() if callable(own) else thing
        found: list[tuple[str, object]] = []
        for name, value in all_:
            found.append((text(name), value[0] if isinstance(value, list) and value else value))
            if len(found) >= MAX_ITEMS:
                break
    except Exception:  # noqa: BLE001 - not iterable, or no pairs
        return []
    return found


def items(thing: object) -> list[tuple[str, str]]:
    """`pairs`, the values as text too."""
    return [(name, text(value)) for name, value in pairs(thing)]


def innermost_package(error: BaseException) -> str:
    """Top-level package of the function in which it was raised; "" when nobody knows."""
    traceback, package = attribute(error, "__traceback__"), ""
    for _ in range(MAX_FRAMES):
        if traceback is None:
            break
        package = str(traceback.tb_frame.f_globals.get("__name__", "")).split(".")[0]
        traceback = traceback.tb_next
    return package if traceback is None else ""


def number(value: object) -> int | None:
    """A whole number as such; None for booleans, text and the rest."""
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None
