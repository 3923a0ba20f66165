"""The kinds of proof, the options each takes, and whether a declared proof may stand."""

from __future__ import annotations

import difflib
import math
import re
from typing import TYPE_CHECKING

from proofq.policies import declared, placeholders
from proofq.policies import schema as json_schema
from proofq.policies.agent import DeclarationProblem, Proof

if TYPE_CHECKING:
    from collections.abc import Callable

    from proofq.policies.agent import JSON

#: What each kind of the contract takes; only those in `BUILT` may be declared yet.
OPTIONS: dict[str, frozenset[str]] = {
    "file": frozenset({"path", "min_bytes", "contains", "sha256", "json_schema", "same_ok"}),
    "json": frozenset({"schema"}),
    "record": frozenset({"db", "query", "params", "equals"}),
    "artifact": frozenset({"key"}),
    "http": frozenset({"url", "status", "contains"}),
    "command": frozenset({"argv"}),
    "python": frozenset({"function"}),
}
BUILT = frozenset({"file", "json", "record", "command", "python"})
#: Options without which a proof of the kind says nothing.
REQUIRED = {
    "file": ("path",),
    "json": (),
    "record": ("db", "query", "equals"),
    "command": ("argv",),
    "python": ("function",),
}

#: "module:function" or "relative/file.py:function".
FUNCTION = re.compile(r"(?P<module>[^\s:{}]+):(?P<function>[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*)")
#: What a query that only reads begins with.
_READS = re.compile(r"\s*(select|with|values)\b", re.IGNORECASE)
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")


def check(proof: JSON) -> Proof:
    """Give one declared proof, a table with `kind` or a Proof; whether its placeholders are known is not seen."""
    if isinstance(proof, Proof):
        proof = {"kind": proof.kind, **proof.options, "must_change": proof.must_change}
    if not isinstance(proof, dict):
        raise DeclarationProblem('a proof is a table, such as { kind = "file", path = "{out}" }')
    kind = _kind(proof.get("kind"))
    must_change = proof.get("must_change", False)
    _flag("must_change", must_change)
    given = {key: each for key, each in proof.items() if key not in ("kind", "must_change")}
    options = {key: list(each) if isinstance(each, tuple) else each for key, each in given.items()}
    for key in options:
        if key not in OPTIONS[kind]:
            known = sorted({*OPTIONS[kind], "must_change"})
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known)}"
            raise DeclarationProblem(f"unknown key {str(key)[:80]!r} of a {kind} proof; {hint}", key=(str(key),))
    for key in REQUIRED[kind]:
        if key not in options:
            raise DeclarationProblem(f"a {kind} proof needs {key}")
    for key, value in options.items():
        _CHECKS[key](key, value)
    return Proof(kind, options, must_change)


def _kind(kind: JSON) -> str:
    if not isinstance(kind, str) or kind not in OPTIONS:
        raise DeclarationProblem(f"unknown kind of proof {kind!r}; known are {', '.join(sorted(BUILT))}", key=("kind",))
    if kind not in BUILT:
        raise DeclarationProblem(f"a {kind} proof is not built yet; use {', '.join(sorted(BUILT))}", key=("kind",))
    return kind


def _string(key: str, value: JSON) -> None:
    if not isinstance(value, str) or not value:
        raise DeclarationProblem(f"{key} is {repr(value)[:80]}; it is text and not empty", key=(key,))
    try:
        declared.text(value)
    except DeclarationProblem as problem:
        raise DeclarationProblem(f"{key}: {problem.message}", key=(key,)) from problem


def _bytes(key: str, value: JSON) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise DeclarationProblem(f"{key} is {repr(value)[:80]}; it is a whole number of bytes from 0", key=(key,))


def _flag(key: str, value: JSON) -> None:
    if not isinstance(value, bool):
        raise DeclarationProblem(f"{key} is {repr(value)[:80]}; it is true or false", key=(key,))


def _digest(key: str, value: JSON) -> None:
    _string(key, value)
    if "{" not in value and not _DIGEST.fullmatch(value):
        raise DeclarationProblem(f"{key} is {value[:80]!r}; it is 64 hex digits", key=(key,))


def _schema(key: str, value: JSON) -> None:
    if not isinstance(value, dict):
        _string(key, value)
        return
    try:
        json_schema.check(value)
    except json_schema.SchemaProblem as error:
        raise DeclarationProblem(f"{key}: {error}", key=(key,)) from error


def _function(key: str, value: JSON) -> None:
    _string(key, value)
    if not FUNCTION.fullmatch(value):
        raise DeclarationProblem(f'{key} is {value[:80]!r}; write "module:function"', key=(key,))


def _query(key: str, value: JSON) -> None:
    _string(key, value)
    used = sorted(placeholders.names(value))
    if used:
        # A value in the text of a query could change what the query asks.
        hint = f'write ? and params = ["{{{used[0]}}}"]'
        raise DeclarationProblem(f"{key} holds {{{used[0]}}}, and a query takes no placeholder; {hint}", key=(key,))
    if not _READS.match(value):
        raise DeclarationProblem(f"{key} is {value[:80]!r}; it is one SELECT, since a proof only reads", key=(key,))


def _params(key: str, value: JSON) -> None:
    if not isinstance(value, list | dict):
        hint = 'a list for each ?, or a table of :names, such as ["{id}"]'
        raise DeclarationProblem(f"{key} is {repr(value)[:80]}; it is {hint}", key=(key,))
    if isinstance(value, dict) and not all(isinstance(name, str) and name.isidentifier() for name in value):
        raise DeclarationProblem(f"{key} has a name that no :name can have; use letters, digits and _", key=(key,))
    for each in value.values() if isinstance(value, dict) else value:
        if not isinstance(each, bool):
            _column(key, each)


def _equals(key: str, value: JSON) -> None:
    if value == []:
        raise DeclarationProblem(f"{key} is empty; it has a value for each column of the row", key=(key,))
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, bool):
            hint = f"sqlite has no true and false, write {int(each)}"
            raise DeclarationProblem(f"{key} is {str(each).lower()}; {hint}", key=(key,))
        _column(key, each)


def _column(key: str, value: JSON) -> None:
    """Refuse what no column of sqlite gives back: lists and tables, integers of more than 64 bits, NaN."""
    if isinstance(value, str) and value:
        _string(key, value)
    fits = value is None or isinstance(value, str)
    fits = fits or (isinstance(value, int) and -(2**63) <= value < 2**63)
    fits = fits or (isinstance(value, float) and math.isfinite(value))
    if not fits:
        hint = "a column holds text, a number of at most 64 bits, or null"
        raise DeclarationProblem(f"{key} holds {repr(value)[:80]}; {hint}", key=(key,))


def _argv(key: str, value: JSON) -> None:
    if not isinstance(value, list) or not value or value[0] == "":
        hint = 'a list of a program and its arguments, such as ["cmp", "--", "{doc}", "{out}"]; it never goes through'
        raise DeclarationProblem(f"{key} is {repr(value)[:80]}; it is {hint} a shell", key=(key,))
    for each in value:
        if each != "":
            _string(key, each)


_CHECKS: dict[str, Callable[[str, JSON], None]] = {
    "path": _string,
    "contains": _string,
    "min_bytes": _bytes,
    "sha256": _digest,
    "json_schema": _schema,
    "schema": _schema,
    "same_ok": _flag,
    "function": _function,
    "db": _string,
    "query": _query,
    "params": _params,
    "equals": _equals,
    "argv": _argv,
}
