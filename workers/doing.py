"""Doing something in the world once for a task, whatever becomes of its attempts: the attempt's part of `ctx.once`.

Written as a generator of calls, so that a function makes them and a coroutine awaits them, and both are one piece.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, TypeAlias

from proofq.policies.effects import MAX_OUTCOME_BYTES, bad_key
from proofq.workers.errors import BadInput, EffectUnknown, NotDone
from proofq.workers.report import NotStrictJSON, strict_json

#: Yields what is to be called, is sent what that gave, and returns the outcome.
Doing: TypeAlias = Generator[Callable[[], Any], Any, Any]
#: Asks the supervisor.
Ask: TypeAlias = Callable[[str, dict[str, Any]], Any]


def once(ask: Ask, key: str, fn: Callable[[], Any], check: Callable[[], Any] | None) -> Doing:
    """See `Context.once`."""
    if wrong := bad_key(key):
        raise BadInput(f"ctx.once({key!r:.80}): {wrong}.")
    told = yield partial(ask, "effect.intend", {"key": key})
    if told["is"] == "open":
        if check is None:
            raise _unknown(key, told)
        found = yield check
        if found is not None:
            outcome = _plain(key, found)
            yield partial(ask, "effect.record", {"key": key, "rid": told["rid"], "outcome": outcome, "how": "check"})
            return outcome
        told = yield partial(ask, "effect.intend", {"key": key, "over": told["rid"]})
    if told["is"] == "done":
        return told["outcome"]
    if told["is"] == "open":
        raise _unknown(key, told)
    try:
        outcome = _plain(key, (yield fn))
    except NotDone:
        yield partial(ask, "effect.withdraw", {"key": key, "rid": told["rid"]})
        raise
    yield partial(ask, "effect.record", {"key": key, "rid": told["rid"], "outcome": outcome})
    return outcome


def now(doing: Doing) -> Any:
    """Make its calls, one after another."""
    turn: Callable[[], Callable[[], Any]] = partial(next, doing)
    while True:
        try:
            step = turn()
        except StopIteration as end:
            return end.value
        try:
            value = step()
            if inspect.iscoroutine(value):
                value.close()
                raise NotDone("a def agent calls functions, and this one gave a coroutine; nothing was done")
            turn = partial(doing.send, value)
        except BaseException as error:  # noqa: BLE001 - it is for the generator to say what that means
            turn = partial(doing.throw, error)


async def later(doing: Doing) -> Any:
    """Make its calls and await what they give."""
    turn: Callable[[], Callable[[], Any]] = partial(next, doing)
    while True:
        try:
            step = turn()
        except StopIteration as end:
            return end.value
        try:
            value = step()
            turn = partial(doing.send, await value if inspect.isawaitable(value) else value)
        except BaseException as error:  # noqa: BLE001 - as above
            turn = partial(doing.throw, error)


def _plain(key: str, outcome: Any) -> Any:
    """As it will be read back: what the first run gives is what every other one gives."""
    try:
        return json.loads(strict_json(outcome, f"the outcome of ctx.once({key!r:.80})", MAX_OUTCOME_BYTES))
    except NotStrictJSON as error:
        raise BadInput(f"{error}; what it did stays listed as unconfirmed.") from error


def _unknown(key: str, told: dict[str, Any]) -> EffectUnknown:
    when = f"by attempt {told['fence']} at {told['at']}"
    return EffectUnknown(f"ctx.once({key!r:.80}) was begun {when}, and nobody knows whether it was done")
