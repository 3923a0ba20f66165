"""What follows from a failure: the class selects the response, counters bound it, a reason says which rule spoke.

Pure: facts in, a Decision out. Whoever asked for a cancel gets it wherever the decision would have led to another run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from proofq.policies import backoff, classes
from proofq.policies.failure import Failure
from proofq.policies.lifecycle import LEASED, TABLE, TERMINAL


@dataclass(frozen=True)
class Limits:
    """Bounds of a worker's settings. Each is the number at which the task is taken out, not the last one allowed.

    `max_pickups`: leases in a row that never led to a confirmed start (default 5). `max_deaths`: owners that died
    holding the task (3). `max_equal_crashes`: attempts in a row that crashed in the same way (2). `max_wait_s`: the
    longest wait that somebody may ask for and the task still waits by itself (3600 s).
    """

    max_pickups: int = 5
    max_deaths: int = 3
    max_equal_crashes: int = 2
    max_wait_s: float = 3600.0


@dataclass(frozen=True)
class TaskFacts:
    """What a decision may look at; the counters do not yet include the failure that is being judged."""

    state: str
    attempt: int
    counted: int
    max_attempts: int
    pickups: int = 0
    deaths: int = 0
    fingerprint: str = ""
    equal_failures: int = 0
    cancel: bool = False
    #: It passed the gate of a provider, which hears of its end and keeps the next attempt waiting.
    gated: bool = False


@dataclass(frozen=True)
class Decision:
    """One event of the table, whether the attempt counts, why (`rule` is the name of the rule that spoke), and how long
    the task waits first (None = not at all). `remembered`: though it does not count, how often in a row is kept."""

    event: str
    counted: bool
    rule: str
    reason: str
    delay_s: float | None = None
    equal_failures: int = 0
    remembered: bool = False


#: Where a response leads while its bound is not reached.
_EVENT_OF: Final[Mapping[str, str]] = {
    "retry": "retry",
    "repair": "retry",
    "defer": "defer",
    "requeue": "requeue",
    "fail": "fail",
    "quarantine": "quarantine",
    "hold": "hold",
    "cancel": "cancel",
}


#: What a human is asked to do about a task that is held for its class.
_TO_DO: Final[Mapping[str, str]] = {
    "auth": "see to the credential, then `proofq replay` it",
    "quota": "nobody said until when; see to credit or plan, then `proofq replay` it",
    "budget": "it goes on once there is room in that budget; raise it, or `proofq replay` it",
    "effect_unknown": "say with `proofq effect` whether it was done, then `proofq replay` it",
}


#: How often in a row a task may be sent back to the gate for the same refusal: where others are let through with the
#: same key, it is the task's own, and a human must look.
MAX_AT_GATE: Final = 5


def decide(failure: Failure, facts: TaskFacts, limits: Limits, jitter: float) -> Decision:
    """The response to `failure`; `jitter` in [0, 1) spreads the delay."""
    return _at_the_gate(failure, facts, limits) or _by_class(failure, facts, limits, jitter)


def _at_the_gate(failure: Failure, facts: TaskFacts, limits: Limits) -> Decision | None:
    """The response where the gate of the provider waits for the task: it goes back behind it, uncounted."""
    refused = failure.kind in ("auth", "quota") and failure.retry_after_s is None
    limited = failure.kind in ("rate_limited", "quota") and (failure.retry_after_s or 0.0) > limits.max_wait_s
    if not (facts.gated and (refused or limited)) or facts.cancel or (facts.state, "requeue") not in TABLE:
        return None
    equal = facts.equal_failures + 1 if failure.fingerprint == facts.fingerprint else 1
    if equal >= MAX_AT_GATE:
        return None
    reason = f"{failure.kind}: {failure.reason} (it waits at the gate of its provider)"
    return Decision("requeue", False, f"{failure.kind}.gate", reason, equal_failures=equal, remembered=True)


def _by_class(failure: Failure, facts: TaskFacts, limits: Limits, jitter: float) -> Decision:
    kind = classes.of(failure.kind)
    equal = facts.equal_failures + 1 if failure.fingerprint and failure.fingerprint == facts.fingerprint else 1
    counted = facts.counted + 1 if kind.counted else facts.counted
    waited = _waited(failure, kind, limits)
    spent = None if _is_unasked(failure) else _spent(kind, counted, equal, facts, limits)
    is_counted = kind.counted
    if spent:
        event, rule, why = kind.ends_in, f"{kind.name}.{spent[0]}", spent[1]
    elif waited:
        event, rule, why = waited
        is_counted = False
    else:
        event, rule, why = _EVENT_OF[kind.response], f"{kind.name}.{kind.response}", _TO_DO.get(kind.name, "")
    if facts.cancel and TABLE.get((facts.state, event)) not in TERMINAL:
        event, rule, why = "cancel", "cancel.asked", "its cancel was asked"
        is_counted = kind.counted
    delay = _delay_s(failure, event, facts, jitter)
    reason = f"{kind.name}: {failure.reason}" + (f" ({why})" if why else "")
    return Decision(event, is_counted, rule, reason, delay, equal)


def too_many_pickups(facts: TaskFacts, limits: Limits) -> Failure | None:
    """The failure of a task that was leased too often without ever running; None while it may be tried."""
    if facts.pickups <= limits.max_pickups:
        return None
    return Failure("no_progress", f"picked up {facts.pickups} times in a row and never running", source="host")


def too_many_deaths(facts: TaskFacts, limits: Limits) -> bool:
    """Whether the owners that died holding the task have reached the bound."""
    return facts.deaths >= limits.max_deaths


def is_suspect(facts: TaskFacts, limits: Limits) -> bool:
    """Whether one more death beside it would quarantine the task, so that it must not be there by chance."""
    return 0 < facts.deaths == limits.max_deaths - 1


def is_charged(facts: TaskFacts, on_trial: bool, limits: Limits) -> bool:
    """Whether the death of the worker that holds the task counts against it: not while it waits for its trial."""
    return on_trial or facts.state != LEASED or not is_suspect(facts, limits)


def _spent(
    kind: classes.FailureClass, counted: int, equal: int, facts: TaskFacts, limits: Limits
) -> tuple[str, str] | None:
    """Which bound is reached, and that in words; None while the response may still be given."""
    if kind.bound == "equal_crashes" and equal >= limits.max_equal_crashes:
        return "equal_crashes", f"{equal} equal crashes in a row, max_equal_crashes is {limits.max_equal_crashes}"
    if kind.bound in {"attempts", "equal_crashes"} and counted >= facts.max_attempts:
        return "attempts", f"{counted} of {facts.max_attempts} attempts are spent"
    if kind.bound == "deaths" and facts.deaths >= limits.max_deaths:
        return "deaths", f"{facts.deaths} workers died holding it, max_deaths is {limits.max_deaths}"
    if kind.bound == "pickups" and facts.pickups >= limits.max_pickups:
        return "pickups", f"{facts.pickups} pickups without a start, max_pickups is {limits.max_pickups}"
    return None


def _waited(failure: Failure, kind: classes.FailureClass, limits: Limits) -> tuple[str, str, str] | None:
    """Event, rule and words where a wait that somebody asked for decides, and not the class alone; None elsewhere."""
    if _is_unasked(failure):
        return "defer", f"{kind.name}.unasked", "nobody was asked"
    wait = failure.retry_after_s
    if wait is None or kind.name not in classes.WAITS:
        return None
    if wait > limits.max_wait_s:
        why = f"asked to wait {wait:g} s, and max_wait_s is {limits.max_wait_s:g}; `proofq replay` it then, or sooner"
        return "hold", f"{kind.name}.max_wait_s", why
    # Out of credit until a time that was said is a wait like any other.
    return ("defer", f"{kind.name}.defer", "") if kind.name in {"quota", "budget"} else None


def _is_unasked(failure: Failure) -> bool:
    """Whether a gate, or a breaker of the agent's own, kept it from asking anybody."""
    return failure.kind == "overloaded" and failure.source == "host"


def _delay_s(failure: Failure, event: str, facts: TaskFacts, jitter: float) -> float | None:
    if event not in {"retry", "defer"}:
        return None
    own = backoff.delay_s(facts.attempt, jitter)
    if failure.retry_after_s is None:
        return own
    # Somebody said how long: never earlier, and not everybody in the same instant.
    return failure.retry_after_s + min(own, 0.1 * failure.retry_after_s + 1.0) * jitter
