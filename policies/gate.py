"""The gates of providers: one for each provider and key, shared by the whole fleet. What they know, as data.

A gate says whether anything may be sent to a provider with one key. Which of its moves is legal stands in `TABLE`; what
an attempt or a call has to tell its gate is a `Told`. The scripts that read and move a gate in Redis only compare the
numbers that are put together here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from proofq.policies import backoff, breaker
from proofq.policies.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proofq.policies.agent import Provider

OPEN: Final = "open"
COOLING: Final = "cooling"
TRIPPED: Final = "tripped"
PROBING: Final = "probing"
HELD: Final = "held"
ISOLATED: Final = "isolated"

#: Every state, with what it means.
STATES: Final[Mapping[str, str]] = {
    PROBING: "one at a time, until the first answer",
    OPEN: "everything may be sent",
    COOLING: "the provider asked to wait: nothing is sent until then",
    TRIPPED: "the provider is failing: nothing is sent until the cool-down is over, then one probe",
    HELD: "the key is refused or out of credit: nothing is sent until a human opens the gate, or the key is another",
    ISOLATED: "closed by hand: nothing is sent until it is opened by hand",
}

#: (state, event) -> state. `None`: nobody has heard of the key.
TABLE: Final[Mapping[tuple[str | None, str], str]] = {
    (None, "first"): PROBING,
    **{(state, "cool"): COOLING for state in (OPEN, PROBING, TRIPPED, COOLING)},
    (COOLING, "release"): OPEN,
    (OPEN, "trip"): TRIPPED,
    (PROBING, "trip"): TRIPPED,
    **{(state, "probe"): PROBING for state in (PROBING, TRIPPED, COOLING)},
    (PROBING, "recover"): OPEN,
    (OPEN, "suspect"): PROBING,
    (PROBING, "suspect"): PROBING,
    (PROBING, "hold"): HELD,
    **{(state, "open"): OPEN for state in STATES if state != OPEN},
    (HELD, "try"): PROBING,
    **{(state, "hold_by_hand"): HELD for state in STATES if state != HELD},
    **{(state, "isolate"): ISOLATED for state in STATES if state != ISOLATED},
    (None, "isolate"): ISOLATED,
}

#: What each event means and who brings it.
EVENTS: Final[Mapping[str, str]] = {
    "first": "a worker with a key that nobody has seen before",
    "cool": "the provider asked to slow down, or the credit is spent until a time; the longest wait counts",
    "release": "the wait is over; what waited is let out bit by bit",
    "trip": "too many calls failed, or the probe did",
    "probe": "one may try",
    "recover": "an answer came",
    "suspect": "the key was refused, or is out of credit: the next one is to confirm it",
    "hold": "confirmed: a human is called, once",
    "try": "a human opened what was held: one may try",
    "open": "a human opened it",
    "hold_by_hand": "a human held it",
    "isolate": "a human closed it",
}

#: Seconds in which what waited for a time is let out again, evenly: no second holds more than an eighth of it, and one.
RAMP_S: Final = 8.0
#: Seconds for which nothing is sent where all that was watched has failed, twice or oftener: who is in flight is heard.
HARK_S: Final = 0.25
#: Longest wait that a provider may ask for and the gate opens by itself: a plan's week, and a day. Beyond it: held.
MAX_COOL_S: Final = 8 * 86_400.0
#: Waits where a provider asks to slow down and does not say for how long: the first, and the most.
COOL_S, MAX_OWN_COOL_S = 2.0, 120.0
#: Breadcrumbs that are kept of a gate.
CRUMBS: Final = 200
#: Seconds after which a gate is forgotten that no worker has named.
FORGOTTEN_S: Final = 30 * 86_400.0
#: What the fingerprint is called where a provider has no key.
NO_KEY: Final = "none"

#: What is told to a gate: an answer came; a call failed; slow down; the key is refused; no credit; nothing of use.
Kind = Literal["answered", "failed", "limited", "refused", "spent", "nothing"]

#: Classes that only who has asked a provider can have: it took the key and read the request.
_ANSWERS: Final = frozenset({"content_refused", "context_overflow"})


@dataclass(frozen=True, slots=True)
class Told:
    """What one attempt or one call has to tell its gate. `wait_s`: what somebody said how long to wait."""

    kind: Kind
    reason: str = ""
    wait_s: float | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """How somebody was let through a gate: its name, the epoch in which that was, whether as its probe, and whether the
    gate wants to hear of a success too (it is not plainly open)."""

    gate: str
    epoch: int
    probe: bool = False
    watched: bool = False


def fingerprint(key: str) -> str:
    """Twelve hex digits that say which key it is, and nothing of it; `NO_KEY` for no key."""
    return hashlib.sha256(b"proofq gate " + key.encode("utf-8", "surrogateescape")).hexdigest()[:12] if key else NO_KEY


def name(provider: str, key_fingerprint: str) -> str:
    """The gate of a provider and a key; neither part holds a colon."""
    return f"{provider}:{key_fingerprint}"


def provider_of(gate: str) -> str:
    """The provider of a gate's name."""
    return gate.partition(":")[0]


def key_of(gate: str) -> str:
    """The key's fingerprint of a gate's name."""
    return gate.partition(":")[2]


def told_by(failure: Failure | None, *, answered: bool = False) -> Told:
    """What an end tells the gate; `answered`: without a failure, whether that proves that the provider took the key."""
    if failure is None:
        return Told("answered" if answered else "nothing")
    reason = f"{failure.kind}: {failure.reason}"
    match failure.kind:
        case "rate_limited" if failure.source == "provider":
            return Told("limited", reason, failure.retry_after_s)
        case "quota":
            return Told("spent" if failure.retry_after_s is None else "limited", reason, failure.retry_after_s)
        case "auth":
            return Told("refused", reason)
        case kind if breaker.is_brownout(failure):
            # An overloaded provider that says for how long knows best.
            wait_s = failure.retry_after_s if kind == "overloaded" else None
            return Told("failed", reason, wait_s)
        case kind if kind in _ANSWERS:
            return Told("answered")
        case _:
            return Told("nothing")


def is_worth_telling(told: Told, admission: Admission) -> bool:
    """Whether the gate must hear of it: not of a success while it is plainly open; of nothing only from its probe."""
    if told.kind == "answered":
        return admission.probe or admission.watched
    return told.kind != "nothing" or admission.probe


def plan(told: Told, admission: Admission, provider: Provider, jitter: float) -> dict[str, object]:
    """What the script is given that tells a gate: every number it may need, in milliseconds, chance included."""
    said: dict[str, object] = {
        "name": admission.gate,
        "epoch": admission.epoch,
        "kind": told.kind,
        "reason": told.reason[:300],
        "own": [round(1000 * _own_s(number, jitter)) for number in range(1, 8)],
        **breaker.numbers(provider, jitter),
    }
    if told.wait_s is not None:
        if told.kind == "limited" and told.wait_s > MAX_COOL_S:
            return {**said, "kind": "spent", "reason": f"asked to wait {told.wait_s:.0f} s; {told.reason}"[:300]}
        # Never earlier; and fleets of others, who were told the same, do not come back in the same instant.
        said["wait"] = round(1000 * (min(told.wait_s, MAX_COOL_S) + jitter * min(1.0, 0.1 * told.wait_s)))
    return said


def _own_s(number: int, jitter: float) -> float:
    return backoff.delay_s(number, jitter, COOL_S, MAX_OWN_COOL_S)
