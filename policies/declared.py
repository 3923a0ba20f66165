"""The single values of a declaration: names, texts, times and counts, each given back or refused.

Everything here raises DeclarationProblem with a sentence that says what the value may be. Nothing knows
the file; the caller adds the place.
"""

from __future__ import annotations

import difflib
import math
import re
from datetime import timedelta
from typing import TYPE_CHECKING

from proofq.policies.agent import DeclarationProblem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proofq.policies.agent import JSON

NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
#: Ten years: beyond it a time in milliseconds stops being exact where it is stored.
MAX_SECONDS = 315_360_000.0
MAX_COUNT = 1000

_SURROGATE = re.compile("[\ud800-\udfff]")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def name(name: JSON, what: str) -> str:
    """Give the name of an agent or a provider back."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise DeclarationProblem(f"the name of this {what} is broken; a name is 1 to 128 letters, digits, _ and -")
    return name


def shown_name(name: JSON) -> str:
    """Give a name, broken or not, the way a message shows it."""
    return name if isinstance(name, str) and NAME.fullmatch(name) else repr(name)[:80]


def known_keys(raw: Mapping[str, JSON], known: frozenset[str], what: str) -> None:
    """Refuse the first key that is not known, with the nearest one that is."""
    for key in raw:
        if key not in known:
            near = difflib.get_close_matches(str(key), sorted(known), n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known - {'name'}))}"
            raise DeclarationProblem(f"unknown key {str(key)[:80]!r} of this {what}; {hint}", key=(str(key),))


def variable(name: JSON, key: tuple[str | int, ...]) -> None:
    """Refuse what is no name of an environment variable, and the names that are proofq's own."""
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
        raise DeclarationProblem(f"{path_of(key)}: {str(name)[:80]!r} is no name of an environment variable", key=key)
    if name.startswith("PROOFQ_"):
        raise DeclarationProblem(f"{path_of(key)}: names that start with PROOFQ_ are set by proofq alone", key=key)


def text(value: JSON) -> str:
    """Give a text back."""
    if not isinstance(value, str):
        raise DeclarationProblem(f"{repr(value)[:80]} is no text; write it in quotes")
    if "\0" in value:
        raise DeclarationProblem("it holds a NUL character, which no program can be given; remove it")
    if _SURROGATE.search(value):
        raise DeclarationProblem("it holds half a surrogate pair, which is no Unicode text; remove it")
    return value


def seconds(raw: Mapping[str, JSON], key: str, default: float, *, zero: bool = False) -> float:
    """Give a duration, a number of seconds or a timedelta; 0 only where `zero` says so."""
    value = raw.get(key, default)
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise DeclarationProblem(f"{key} is {repr(value)[:80]}; it is a number of seconds", key=(key,))
    if not math.isfinite(seconds) or seconds < 0 or (seconds == 0 and not zero) or seconds > MAX_SECONDS:
        least = "from 0" if zero else "more than 0"
        raise DeclarationProblem(
            f"{key} is {repr(seconds)[:80]}; it is a number of seconds, {least} and at most {MAX_SECONDS:.0f}",
            key=(key,),
        )
    return float(seconds)


def count(raw: Mapping[str, JSON], key: str, default: int) -> int:
    """Give a whole number of 1 or more."""
    value = raw.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_COUNT:
        raise DeclarationProblem(f"{key} is {repr(value)[:80]}; it is a whole number from 1 to {MAX_COUNT}", key=(key,))
    return value


def share(raw: Mapping[str, JSON], key: str, default: float) -> float:
    """Give a part of the whole, a number above 0 and at most 1."""
    value = raw.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise DeclarationProblem(f"{key} is {repr(value)[:80]}; it is a number above 0 and at most 1", key=(key,))
    return float(value)


def path_of(key: tuple[str | int, ...]) -> str:
    """Give the path of a key the way a message shows it: env.LOG, command[2]."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in key).lstrip(".")
