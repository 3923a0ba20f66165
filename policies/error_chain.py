"""Every error behind an error: causes, contexts, members of groups, and where libraries hide the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from proofq.policies import looking

#: How many errors of a chain are looked at: chains can be cycles, and groups can have thousands of members.
MAX_ERRORS: Final = 50


def walk(error: BaseException) -> list[BaseException]:
    """The error itself, then what it stands for, nearest first; each once, at most `MAX_ERRORS`."""
    found, seen = [error], {id(error)}
    for one in found:
        for behind in _behind(one):
            if len(found) >= MAX_ERRORS:
                return found
            if id(behind) not in seen:
                seen.add(id(behind))
                found.append(behind)
    return found


def is_group(error: BaseException) -> bool:
    """Whether several errors happened at once, in the standard library's sense."""
    return isinstance(error, BaseExceptionGroup)


def _behind(error: BaseException) -> Iterator[BaseException]:
    candidates = [
        *_members(looking.attribute(error, "exceptions")),
        _last_attempt(error),
        looking.attribute(error, "reason"),
        looking.attribute(error, "original_exception"),
        *_members(looking.attribute(error, "args")),
        *_raised_during(error),
    ]
    return (one for one in candidates if _is_error(one))


def _is_error(thing: Any) -> bool:
    try:
        return isinstance(thing, BaseException)
    except Exception:  # noqa: BLE001 - a __class__ of its own
        return False


def _members(thing: Any) -> list[Any]:
    return list(thing[:MAX_ERRORS]) if isinstance(thing, list | tuple) else []


def _last_attempt(error: BaseException) -> Any:
    """tenacity keeps the cause in a future. One that is not done would block whoever asks it."""
    future = looking.attribute(error, "last_attempt")
    if future is None or _is_error(future):
        return future
    kept = looking.stored(future, "_exception")
    if kept is not None:
        return kept
    ask, done = looking.attribute(future, "exception"), looking.attribute(future, "done")
    try:
        return ask() if callable(ask) and (not callable(done) or done() is True) else None
    except Exception:  # noqa: BLE001 - somebody else's method
        return None


def _raised_during(error: BaseException) -> list[Any]:
    cause = looking.attribute(error, "__cause__")
    if cause is not None:
        return [cause]
    suppressed = looking.attribute(error, "__suppress_context__")
    return [] if suppressed else [looking.attribute(error, "__context__")]
