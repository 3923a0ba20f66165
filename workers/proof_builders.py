"""`proofq.proofs`: proofs for `@proofq.agent(proofs=[...])`, one function for each kind of the contract.

Every string may hold placeholders ("{out}"). What the values may be is checked with the agent that has the proof.
`must_change`: the proof must not hold yet before the task's first attempt.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from proofq.policies.agent import Proof
from proofq.workers import modules
from proofq.workers.errors import NotBuilt


def file(
    path: str | os.PathLike[str],
    *,
    min_bytes: int | None = None,
    contains: str | None = None,
    sha256: str | None = None,
    json_schema: Mapping[str, Any] | str | None = None,
    same_ok: bool = False,
    must_change: bool = False,
) -> Proof:
    """A regular file that this task wrote: fresh, and with every property given.

    `min_bytes`: at least so many. `contains`: this text. `sha256`: this digest, 64 hex digits. `json_schema`: one
    strict JSON document that fits the schema (itself, or the path of a file). `same_ok`: the content may be what it
    was before.
    """
    options = {"min_bytes": min_bytes, "contains": contains, "sha256": sha256, "json_schema": json_schema}
    return _proof("file", {"path": os.fspath(path), **options, "same_ok": same_ok or None}, must_change)


def json(schema: Mapping[str, Any] | str | None = None, *, must_change: bool = False) -> Proof:
    """The claim (what a function returned, a command's whole stdout) is one strict JSON document that fits `schema`."""
    return _proof("json", {"schema": schema}, must_change)


def python(function: Callable[..., Any] | str, *, must_change: bool = False) -> Proof:
    """A function of the project, itself or as "module:function": it returns evidence or raises proofq.NotProven.

    It is called with one frozen object: inputs, claim, workdir, taskdir, started_at.
    """
    reference = function if isinstance(function, str) else modules.reference(function)
    return _proof("python", {"function": reference}, must_change)


def record(
    db: str | os.PathLike[str],
    query: str,
    params: Sequence[Any] | Mapping[str, Any] = (),
    *,
    equals: Any,
    must_change: bool = False,
) -> Proof:
    """One row of the sqlite file `db`: `query`, one SELECT, gives exactly one, and it is `equals`.

    `params`: a value for each ?, or a table of :names; a value that is one placeholder ("{id}") has the input's own
    type. `equals`: a value, or a list with one for each column; types must match: 1 is not "1", nor 1.0, None is NULL.
    """
    bound = dict(params) if isinstance(params, Mapping) else list(params)
    options = {"db": os.fspath(db), "query": query, "params": bound or None}
    proof = _proof("record", options, must_change)
    return replace(proof, options={**proof.options, "equals": list(equals) if isinstance(equals, tuple) else equals})


def command(argv: Sequence[str], *, must_change: bool = False) -> Proof:
    """A program that exits 0, in a process of its own, in the attempt's directory; never through a shell.

    Another exit code is a no. A program that cannot be started, is killed or runs longer than proof_timeout_s cannot
    tell. Name one that the agent cannot write: from PATH, or under {project}.
    """
    return _proof("command", {"argv": argv if isinstance(argv, str) else [*argv]}, must_change)


def artifact(*_: Any, **__: Any) -> NoReturn:
    """Not built yet: raises NotBuilt."""
    _refuse("artifact")


def http(*_: Any, **__: Any) -> NoReturn:
    """Not built yet: raises NotBuilt."""
    _refuse("http")


def _proof(kind: str, options: Mapping[str, Any], must_change: bool) -> Proof:
    given = {key: value for key, value in options.items() if value is not None}
    return Proof(kind, {key: dict(v) if isinstance(v, Mapping) else v for key, v in given.items()}, must_change)


def _refuse(kind: str) -> NoReturn:
    raise NotBuilt(f"A {kind} proof is not built yet; use proofs.file, json, record, command or python.")
