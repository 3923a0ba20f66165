"""The failure classes: one word per kind of failure, and that word alone selects the response (DESIGN §4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Response = Literal["retry", "repair", "fail", "quarantine", "hold", "defer", "requeue", "cancel"]
Bound = Literal["attempts", "equal_crashes", "deaths", "pickups", "age", "none"]


@dataclass(frozen=True)
class FailureClass:
    """What one class of failure means for a task.

    `response` is what is done while the bound is not reached; `bound` names the counter that limits it; `ends_in` is
    the event that closes the task when the bound is reached; `counted` says whether the attempt counts against the
    task's `max_attempts`.
    """

    name: str
    response: Response
    counted: bool
    bound: Bound
    ends_in: str
    meaning: str


_ALL: Final[tuple[FailureClass, ...]] = (
    FailureClass("rate_limited", "defer", False, "age", "expire", "the provider asked to slow down"),
    FailureClass("overloaded", "retry", True, "attempts", "fail", "the provider is overloaded or failing"),
    FailureClass("network", "retry", True, "attempts", "fail", "the way to the provider is broken"),
    FailureClass("timeout", "fail", True, "none", "fail", "a deadline passed"),
    FailureClass("stalled", "fail", True, "none", "fail", "alive, but no evidence of progress"),
    FailureClass(
        "no_progress", "quarantine", False, "pickups", "quarantine", "picked up again and again, never running"
    ),
    FailureClass("start_unconfirmed", "retry", False, "pickups", "quarantine", "spawned, but it never came up"),
    FailureClass("auth", "hold", False, "none", "hold", "the credential was refused"),
    FailureClass("quota", "hold", False, "none", "hold", "out of credit or of a plan's window"),
    FailureClass("bad_input", "fail", True, "none", "fail", "the input cannot be worked on"),
    FailureClass("context_overflow", "fail", True, "none", "fail", "the prompt does not fit the model"),
    FailureClass("malformed_output", "repair", True, "attempts", "fail", "the output has not the promised form"),
    FailureClass("content_refused", "fail", True, "none", "fail", "the provider refused the content"),
    FailureClass("infrastructure", "defer", False, "age", "expire", "our own store or host was not usable"),
    FailureClass("resource", "retry", True, "attempts", "quarantine", "out of memory, files or processes"),
    FailureClass("crash", "retry", True, "equal_crashes", "quarantine", "a bug, a signal or an unexpected exit"),
    FailureClass("lost_worker", "requeue", False, "deaths", "quarantine", "the process that owned the attempt died"),
    FailureClass("unverified", "retry", True, "attempts", "quarantine", "success was claimed and a proof failed"),
    FailureClass("handoff_broken", "hold", False, "none", "hold", "the receiver cannot read what it needs"),
    FailureClass("effect_unknown", "hold", False, "none", "hold", "an outside effect was begun and may have been done"),
    FailureClass("budget", "hold", True, "none", "hold", "a limit of ours on cost, turns or output was reached"),
    FailureClass("cancelled", "cancel", False, "none", "cancel", "somebody asked for it"),
    FailureClass("policy_error", "quarantine", False, "none", "quarantine", "a policy of ours raised"),
    FailureClass("unknown", "fail", True, "none", "fail", "none of the known kinds"),
)

#: Classes in which somebody may say how long to wait, and is obeyed.
WAITS: Final[frozenset[str]] = frozenset({"rate_limited", "overloaded", "quota", "budget"})

CLASSES: Final[dict[str, FailureClass]] = {one.name: one for one in _ALL}


def of(name: str) -> FailureClass:
    """The class called `name`; a name nobody knows is `unknown`, never an error."""
    return CLASSES.get(name, CLASSES["unknown"])
