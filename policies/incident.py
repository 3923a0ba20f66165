"""One cause is one incident, however many tasks it hits: what makes two failures equal, and who is told, and when.

Pure: numbers and words out of facts. `lua/incidents.lua` only counts and compares what stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from proofq.policies import fingerprints
from proofq.policies.failure import Failure
from proofq.policies.incident_rules import Rules

Severity = Literal["info", "warning", "error", "critical"]

#: From what is only listed to what a human must see to before anything goes on.
SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "error", "critical")

#: Where an incident can be. `seen` has not opened yet: too few equal failures, and nobody is told.
SEEN, OPEN, ACKED, CLOSED = "seen", "open", "acked", "closed"
STATES: Final = (OPEN, ACKED, CLOSED, SEEN)

#: A failure that no later one makes worse: nothing goes on until somebody acts.
_CRITICAL: Final = frozenset({"auth", "quota", "policy_error", "handoff_broken"})
#: What often passes by itself.
_WARNING: Final = frozenset({"overloaded", "network", "lost_worker", "infrastructure", "budget"})
#: The provider, and not the agent that met it, is the cause of these.
_OF_PROVIDER: Final = frozenset({"auth", "quota", "rate_limited", "overloaded", "network"})
#: Slowing down for as long as somebody said is no trouble.
_TOLD_TO_WAIT: Final = frozenset({"rate_limited", "quota", "overloaded"})
#: Seconds after which sinks that failed are tried again: what is down for longer has the next escalation.
RETRIES_S: Final = (30.0, 120.0, 600.0)
#: Characters of a reason that are kept.
_REASON: Final = 300


@dataclass(frozen=True)
class Cause:
    """What equal failures have in common. `provider` or `agent` is "" where the other one is to blame."""

    kind: str
    provider: str
    agent: str
    fingerprint: str

    @property
    def key(self) -> str:
        """Sixteen hex digits, equal for equal causes: the fingerprint that is given to others, too."""
        return fingerprints.of_parts("cause", self.kind, self.provider, self.agent, self.fingerprint)


def cause(failure: Failure, agent: str, provider: str) -> Cause | None:
    """The cause behind a failed attempt of `agent`, which depends on `provider` ("" = none).

    None for what is nobody's trouble: a cancel that was asked for, and a wait that we chose ourselves.
    """
    if failure.kind == "cancelled" or (failure.kind == "infrastructure" and failure.retry_after_s is not None):
        return None
    if provider and failure.kind in _OF_PROVIDER:
        # Each agent fails of it at a place of its own; the cause is one.
        return Cause(failure.kind, provider, "", "")
    return Cause(failure.kind, "", agent, failure.fingerprint)


def severity(failure: Failure) -> Severity:
    """How much a human is needed for such a failure."""
    if failure.kind == "rate_limited" or (failure.kind in _TOLD_TO_WAIT and failure.retry_after_s is not None):
        return "info"
    if failure.kind == "infrastructure" and failure.phase == "proof":
        # A task is held since nobody could tell whether its work is done.
        return "error"
    if failure.kind in _CRITICAL:
        return "critical"
    return "warning" if failure.kind in _WARNING else "error"


def opens_at(level: Severity, rules: Rules) -> int:
    """The number of the equal failure with which an incident opens."""
    if level == "critical":
        return 1
    return rules.threshold if level == "error" else rules.threshold + 1


def escalations(level: Severity, rules: Rules) -> tuple[float, ...]:
    """Seconds from each notification to the next while nobody acknowledges; after the last the incident is parked.

    The lower the severity the longer the first wait; each further one is twice as long.
    """
    if level == "info":
        return ()
    first_s = rules.escalate_after_s * {"critical": 1, "error": 2, "warning": 4}[level]
    return tuple(first_s * 2**number for number in range(rules.max_escalations))


def again_s(tries: int) -> float | None:
    """Seconds until a notification that some sinks did not take is given to those once more; None: not any more, before
    the next escalation. `tries`: how often it was given to them already."""
    return RETRIES_S[tries - 1] if 0 < tries <= len(RETRIES_S) else None


def raised(level: str, times: int) -> str:
    """The severity as it is told after so many escalations."""
    place = SEVERITIES.index(level) if level in SEVERITIES else 0
    return SEVERITIES[min(place + times, len(SEVERITIES) - 1)]


def report(failure: Failure, agent: str, provider: str, rules: Rules) -> dict[str, Any] | None:
    """What a script needs to count this failure; None where it is nobody's trouble. Times in milliseconds."""
    found = cause(failure, agent, provider)
    if found is None:
        return None
    level = severity(failure)
    return {
        "cause": found.key,
        **asdict(found),
        "severity": level,
        "reason": failure.reason[:_REASON],
        "opens_at": opens_at(level, rules),
        "window_ms": round(rules.window_s * 1000),
        "gather_ms": round(rules.gather_s * 1000),
        "quiet_ms": round(min(rules.gather_s, rules.quiet_s) * 1000),
        "keep_ms": round(rules.keep_s * 1000),
        "tells": level != "info",
        "schedule": [round(wait_s * 1000) for wait_s in escalations(level, rules)],
    }


def title(row: Mapping[str, Any]) -> str:
    """An incident in a line, from the fields `class`, `provider`, `agent`, `fingerprint` and `count`."""
    whose = f"provider {row['provider']}" if row["provider"] else f"agent {row['agent']}"
    times = "1 failure" if row["count"] == 1 else f"{row['count']} failures"
    mark = f" ({row['fingerprint']})" if row["fingerprint"] else ""
    return f"{row['class']} of {whose}{mark}: {times}"


def sentence(row: Mapping[str, Any]) -> str:
    """What `why` says of the incident of a task's last failure, from its `id`, `state` and `count`."""
    others = "the only failure so far" if row["count"] == 1 else f"one of {row['count']} equal failures"
    named = "" if row["state"] == SEEN else f", incident {row['id']} ({row['state']})"
    return f"It is {others} of one cause{named}."
