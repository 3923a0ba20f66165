"""What an HTTP status means, and which words may say that it means something narrower.

400 carries keys, credit, throttling, refusals and the model's own bad output; 429 carries credit and overload. Other
numbers are to be trusted: a 401 whose text speaks of quota is still a refused key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

_KINDS: Final[dict[int, str]] = {
    401: "auth",
    402: "quota",
    403: "auth",
    407: "network",
    408: "timeout",
    424: "overloaded",
    429: "rate_limited",
    451: "content_refused",
    # Cohere's word for a deny-listed token; Groq's for "capacity exceeded" says so.
    498: "auth",
    524: "timeout",
    598: "timeout",
}
#: status -> what else it can be. Statuses that are not here: see `_may_become`.
_NARROWER: Final[dict[int, frozenset[str]]] = {
    401: frozenset(),
    402: frozenset(),
    403: frozenset({"content_refused"}),
    404: frozenset({"quota"}),
    407: frozenset(),
    408: frozenset(),
    413: frozenset({"quota", "context_overflow"}),
    422: frozenset({"quota", "context_overflow"}),
    429: frozenset({"quota", "overloaded", "context_overflow"}),
    451: frozenset(),
    498: frozenset({"overloaded"}),
}
#: Of several things that a body says at once, the first of these holds.
PRIORITY: Final = (
    "budget", "auth", "quota", "content_refused", "context_overflow", "malformed_output", "overloaded",
    "rate_limited", "timeout", "infrastructure", "resource", "network", "bad_input",
)  # fmt: skip


def kind(status: int) -> str:
    """The class of a status by itself. 2xx on a failure is an answer that is none."""
    if status in _KINDS:
        return _KINDS[status]
    if status >= 500:
        return "overloaded"
    if 300 <= status < 400:
        # A redirection that nobody followed, or that led in a circle: somebody stands in the way.
        return "network"
    return "malformed_output" if 200 <= status < 300 else "bad_input"


def narrowed(status: int, words: Collection[str], phrases: Collection[str]) -> str | None:
    """The narrower class that a body's words or its text's phrases prove, as far as the status allows; else None."""
    allowed = [one for one in words if _may_become(status, one)]
    if status < 500:
        allowed += [one for one in phrases if _may_become(status, one)]
    found = first(allowed)
    return None if found == kind(status) else found


def first(kinds: Iterable[str]) -> str | None:
    """The one that holds when several are said at once."""
    said = set(kinds)
    return next((one for one in PRIORITY if one in said), None)


def is_status(number: int | None) -> bool:
    """Whether a number can be the status of an answer."""
    return number is not None and 100 <= number <= 599


def _may_become(status: int, kind_: str) -> bool:
    if status in _NARROWER:
        return kind_ in _NARROWER[status]
    if status >= 500:
        # S3 answers "slow down" with 503; everything else that a failing server says is not to be relied on.
        return kind_ == "rate_limited" and status != 524
    return True
