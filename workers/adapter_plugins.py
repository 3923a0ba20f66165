"""Adapters that somebody else's package brings, by its entry points in the group `proofq.adapters`.

One is loaded when a declaration names it, and looked at before any task is: a broken one refuses the declaration. What
it does later runs beside the leases, so an error of its is the failure of one attempt, never the end of a worker.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import logging
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from proofq.policies import adapters, declared
from proofq.policies.adapters import Adapter
from proofq.policies.agent import DeclarationProblem
from proofq.policies.ended import Claim, Ending
from proofq.policies.failure import Failure
from proofq.policies.live import Heard
from proofq.workers.report import MAX_RESULT_BYTES, NotStrictJSON, strict_json

log = logging.getLogger(__name__)

GROUP: Final = "proofq.adapters"


def make_known(name: object) -> None:
    """Load the adapter of this name, unless it is known. Raises DeclarationProblem for none, and for a broken one."""
    if not isinstance(name, str) or name in adapters.ADAPTERS:
        return
    found = [each for each in entry_points(group=GROUP) if each.name == name]
    if not found:
        raise DeclarationProblem(_unknown(name), key=("adapter",))
    places = sorted({_place(each) for each in found})
    if len(places) > 1:
        raise DeclarationProblem(
            f"adapter {name!r} is brought by {' and by '.join(places)}; uninstall all of them but one", key=("adapter",)
        )
    try:
        adapters.add(guarded(_checked(_load(found[0]), name)))
    except DeclarationProblem as problem:
        message = f"adapter {name!r} of {places[0]} cannot be used: {problem.message}"
        raise DeclarationProblem(message, key=("adapter",)) from problem


def _unknown(name: str) -> str:
    known = sorted({*adapters.ADAPTERS, *(each.name for each in entry_points(group=GROUP))})
    near = difflib.get_close_matches(name, known, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}."
    return (
        f"adapter {name[:80]!r} is not known; {hint} Another one comes with a package that has an entry point of this "
        f"name in the group {GROUP}: install it into the environment of proofq (docs/adapters.md)"
    )


def _place(found: EntryPoint) -> str:
    dist = found.dist
    return f"{found.value} ({dist.name} {dist.version})" if dist is not None else found.value


def _load(found: EntryPoint) -> object:
    """What a module prints while it is loaded goes to stderr: stdout belongs to the command."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return found.load()
    except (Exception, SystemExit) as error:
        cause = f"{type(error).__name__}: {error}".rstrip(": ")
        raise DeclarationProblem(f"loading it failed: {cause}") from error


def _checked(found: object, name: str) -> Adapter:
    if not isinstance(found, Adapter):
        raise DeclarationProblem(f"it is {found!r:.80}, not a proofq.policies.adapters.Adapter")
    if found.name != name:
        raise DeclarationProblem(f"it calls itself {found.name!r:.80}")
    if not callable(found.outcome) or not (found.live is None or callable(found.live)):
        raise DeclarationProblem("its outcome and its live are functions")
    globs = found.transcripts
    if not isinstance(globs, tuple) or not all(isinstance(each, str) and _is_inside(each) for each in globs):
        raise DeclarationProblem('its transcripts is a tuple of globs below HOME, such as "logs/*.jsonl", without ..')
    if not isinstance(found.env, Mapping) or not all(isinstance(each, str) for each in found.env.values()):
        raise DeclarationProblem("its env is a mapping of texts")
    for variable in found.env:
        declared.variable(variable, ("env", str(variable)))
    return found


def _is_inside(glob: str) -> bool:
    parts = glob.split("/")
    return "\0" not in glob and all(part not in ("", "..", ".") and "**" not in part for part in parts)


# --- what it does later --------------------------------------------------------------------------------------------


def guarded(adapter: Adapter) -> Adapter:
    """The same, but that what it raises, or gives that is no claim and no failure, is the failure of the attempt."""
    live = None if adapter.live is None else _Live(adapter.name, adapter.live)

    def outcome(ending: Ending, document: bool) -> Claim | Failure:
        try:
            return _judged(adapter.outcome(ending, document))
        except Exception as error:
            log.exception("adapter_error", extra={"adapter": adapter.name})
            why = f"the adapter {adapter.name} raised {type(error).__name__}: {error!s:.300}"
            return Failure("policy_error", why, source="host", phase="output")

    return dataclasses.replace(adapter, outcome=outcome, live=live)


def _judged(found: Any) -> Claim | Failure:
    if isinstance(found, Failure):
        return found
    if not isinstance(found, Claim):
        raise TypeError(f"its outcome gave {found!r:.200}, which is no Claim and no Failure")
    try:
        strict_json(found.value, "its claim", MAX_RESULT_BYTES)
    except NotStrictJSON as problem:
        raise TypeError(str(problem)) from problem
    return found


class _Live:
    """Its `live`: a line of which it raises says nothing; it is told of the first, for all attempts of this process."""

    def __init__(self, name: str, read: Callable[[bytes], Heard]) -> None:
        self._name = name
        self._read = read
        self._told = False

    def __call__(self, line: bytes) -> Heard:
        try:
            heard = self._read(line)
            if heard is None or heard == "answered" or isinstance(heard, Failure):
                return heard
            raise TypeError(f"its live gave {heard!r:.200}")
        except Exception:
            if not self._told:
                self._told = True
                log.exception("adapter_error", extra={"adapter": self._name})
            return None
