"""The life of a task, as data: the one table of transitions and RQ's view of each state.

Nothing else in the project knows which move is legal. The door asks `next_state`, the audit folds breadcrumbs through
it, and `docs/life-of-a-task.md` is drawn from it.
"""

from __future__ import annotations

from functools import cache
from typing import Final, Literal

QUEUED: Final = "queued"
LEASED: Final = "leased"
RUNNING: Final = "running"
CLAIMED_DONE: Final = "claimed_done"
VERIFIED: Final = "verified"
FINISHED_UNPROVEN: Final = "finished_unproven"
DEFERRED: Final = "deferred"
HELD: Final = "held"
FAILED: Final = "failed"
QUARANTINED: Final = "quarantined"
CANCELLED: Final = "cancelled"
EXPIRED: Final = "expired"

#: Every state, in the order of a task's life, with what it means and who moves it on.
STATES: Final[dict[str, str]] = {
    QUEUED: "waits for a slot of a worker that declares its agent",
    LEASED: "a slot has it, nothing runs yet",
    RUNNING: "its start is confirmed; the agent works",
    CLAIMED_DONE: "the agent says it is done; the proofs have not spoken",
    VERIFIED: "proven by reading the world back: the only success",
    FINISHED_UNPROVEN: "ended well by its own word, for agents declared without proofs",
    DEFERRED: "waits until a time, or for tasks that go before it, then is queued",
    HELD: "waits for a human, a budget or a handoff",
    FAILED: "ended: its class says that trying again would not help, or its attempts are spent",
    QUARANTINED: "ended: taken out of circulation with its evidence, for a human to look at",
    CANCELLED: "ended: somebody asked for it",
    EXPIRED: "ended: waited longer than its max_age_s",
}

#: The number under which Redis keeps each state, so that tasks can be counted by state. Stored: never renumbered.
NUMBERS: Final[dict[str, int]] = {
    QUEUED: 1,
    LEASED: 2,
    RUNNING: 3,
    CLAIMED_DONE: 4,
    VERIFIED: 5,
    FINISHED_UNPROVEN: 6,
    DEFERRED: 7,
    HELD: 8,
    FAILED: 9,
    QUARANTINED: 10,
    CANCELLED: 11,
    EXPIRED: 12,
}

#: States in which a slot or a reaper holds the lease of the open attempt.
OWNED: Final[frozenset[str]] = frozenset({LEASED, RUNNING, CLAIMED_DONE})
#: States that only a human's replay leaves.
TERMINAL: Final[frozenset[str]] = frozenset({VERIFIED, FINISHED_UNPROVEN, FAILED, QUARANTINED, CANCELLED, EXPIRED})
#: States of waiting, bounded by the task's max_age_s.
WAITING: Final[frozenset[str]] = frozenset({QUEUED, DEFERRED, HELD})
#: The terminal states that count as success.
SUCCESS: Final[frozenset[str]] = frozenset({VERIFIED, FINISHED_UNPROVEN})

#: Ends before a start that say why nothing started: they are waits, not pickups that led nowhere.
UNCOUNTED_PICKUPS: Final[frozenset[str]] = frozenset({"defer", "give_back"})

_ENDS_OF_AN_ATTEMPT: Final[dict[str, str]] = {
    "found": VERIFIED,
    "give_back": QUEUED,
    "requeue": QUEUED,
    "retry": DEFERRED,
    "defer": DEFERRED,
    "hold": HELD,
    "fail": FAILED,
    "quarantine": QUARANTINED,
    "cancel": CANCELLED,
    "expire": EXPIRED,
}

#: (state, event) -> state. `None` is the state of a task that does not exist yet.
TABLE: Final[dict[tuple[str | None, str], str]] = {
    (None, "enqueue"): QUEUED,
    (None, "enqueue_later"): DEFERRED,
    (None, "enqueue_after"): DEFERRED,
    (None, "adopt"): QUEUED,
    (None, "adopt_later"): DEFERRED,
    (None, "adopt_bad"): FAILED,
    (None, "adopt_poison"): QUARANTINED,
    (QUEUED, "lease"): LEASED,
    (QUEUED, "quarantine"): QUARANTINED,
    (QUEUED, "cancel"): CANCELLED,
    (QUEUED, "expire"): EXPIRED,
    (LEASED, "baseline"): LEASED,
    (LEASED, "trial"): LEASED,
    (LEASED, "start"): RUNNING,
    (LEASED, "reap"): LEASED,
    (LEASED, "ask_cancel"): LEASED,
    **{(LEASED, event): state for event, state in _ENDS_OF_AN_ATTEMPT.items()},
    (RUNNING, "claim"): CLAIMED_DONE,
    (RUNNING, "reap"): RUNNING,
    (RUNNING, "ask_cancel"): RUNNING,
    **{(RUNNING, event): state for event, state in _ENDS_OF_AN_ATTEMPT.items()},
    (CLAIMED_DONE, "verify"): VERIFIED,
    (CLAIMED_DONE, "finish_unproven"): FINISHED_UNPROVEN,
    (CLAIMED_DONE, "reap"): CLAIMED_DONE,
    (CLAIMED_DONE, "ask_cancel"): CLAIMED_DONE,
    **{
        (CLAIMED_DONE, event): state
        for event, state in _ENDS_OF_AN_ATTEMPT.items()
        # Work that was claimed is judged by its proofs; it is never run again merely because its owner went away.
        if event not in {"found", "give_back", "requeue"}
    },
    (DEFERRED, "due"): QUEUED,
    (DEFERRED, "met"): DEFERRED,
    (DEFERRED, "release"): QUEUED,
    (DEFERRED, "cancel"): CANCELLED,
    (DEFERRED, "expire"): EXPIRED,
    (HELD, "replay"): QUEUED,
    (HELD, "cancel"): CANCELLED,
    (HELD, "expire"): EXPIRED,
    (FAILED, "replay"): QUEUED,
    (QUARANTINED, "replay"): QUEUED,
    (CANCELLED, "replay"): QUEUED,
    (EXPIRED, "replay"): QUEUED,
    # Who has never run, since those that go before it did not end well, waits for them again.
    (CANCELLED, "replay_after"): DEFERRED,
    (EXPIRED, "replay_after"): DEFERRED,
    # Not the task: only what is shown and listed of it.
    **{(state, "mend"): state for state in STATES},
}

EVENTS: Final[frozenset[str]] = frozenset(event for _, event in TABLE)
#: What begins the counters of a task anew.
REPLAYS: Final[frozenset[str]] = frozenset({"replay", "replay_after"})

#: What it means when one of RQ's tools puts the id of a task in this state back into its queue: it asks for the same as
#: a person would. In any other state it is refused, and RQ's view put right.
FROM_OUTSIDE: Final[dict[str, str]] = {DEFERRED: "due", FAILED: "replay"}

#: Fields of a task that describe one attempt or one wait, and the only states in which each may stand. Whatever enters
#: another state is scrubbed of them in the same write, so that a task never carries a past attempt's end.
FIELDS: Final[dict[str, frozenset[str]]] = {
    "fence": OWNED,
    "owner": OWNED,
    "slot": OWNED,
    "caps": OWNED,
    "host": OWNED,
    "cancel": OWNED,
    "trial": OWNED,
    "started_at": frozenset({RUNNING, CLAIMED_DONE}),
    "not_before": frozenset({DEFERRED}),
    "after_open": frozenset({DEFERRED, CANCELLED, EXPIRED}),
    "failure": frozenset({DEFERRED, HELD, FAILED, QUARANTINED, EXPIRED, CANCELLED}),
    "verdict": frozenset({DEFERRED, HELD, FAILED, QUARANTINED, CANCELLED, EXPIRED, VERIFIED, FINISHED_UNPROVEN}),
    "claim": frozenset({CLAIMED_DONE, HELD, QUARANTINED, FAILED, VERIFIED, FINISHED_UNPROVEN}),
    "ended_at": TERMINAL,
}

RqStatus = Literal["queued", "started", "deferred", "finished", "failed", "canceled"]

#: What people who only know RQ see.
RQ_STATUS: Final[dict[str, RqStatus]] = {
    QUEUED: "queued",
    LEASED: "started",
    RUNNING: "started",
    CLAIMED_DONE: "started",
    DEFERRED: "deferred",
    HELD: "deferred",
    VERIFIED: "finished",
    FINISHED_UNPROVEN: "finished",
    FAILED: "failed",
    QUARANTINED: "failed",
    EXPIRED: "failed",
    CANCELLED: "canceled",
}


def next_state(state: str | None, event: str) -> str | None:
    """The state `event` leads to from `state`, or None when the table has no such move."""
    return TABLE.get((state, event))


def sources(event: str) -> frozenset[str]:
    """Every state from which `event` is legal."""
    return frozenset(state for state, name in TABLE if name == event and state is not None)


@cache
def scrubbed(state: str) -> tuple[str, ...]:
    """The fields that a task in `state` must not carry."""
    return tuple(field for field, states in FIELDS.items() if state not in states)


def is_refused(event: str) -> bool:
    """Whether a breadcrumb's event records a refusal rather than a move."""
    return event.startswith("refused:")
