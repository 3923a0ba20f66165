"""Silence is not death: when an owner must stop by itself, and when a reaper may take what a silent owner held.

The owner stops `STEP_BACK_S` before anybody may take its leases, so the cut-off side ends before the other begins.
A reaper that itself was out of contact first waits until every live owner has had the time to beat again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: An owner kills its own agents this long before its leases may be taken.
STEP_BACK_S: Final = 10.0
#: The longest pause between two tries to reach Redis again.
MAX_BACKOFF_S: Final = 1.0
#: The longest a single call to Redis may take before it counts as failed.
CALL_TIMEOUT_S: Final = 2.0
#: Seconds between two looks of a reaper, and between two beats unless the isolation is short.
TICK_S: Final = 1.0


def beat_every_s(isolation_s: float) -> float:
    """Seconds between two beats: four chances before the owner must step back, at most one a tick."""
    return min(TICK_S, (isolation_s - STEP_BACK_S) / 4.0)


def must_step_back(silent_s: float, isolation_s: float) -> bool:
    """Whether an owner whose last acknowledged beat was sent `silent_s` ago must stop its agents."""
    return silent_s >= isolation_s - STEP_BACK_S


@dataclass(frozen=True)
class Contact:
    """A reaper's own contact with Redis, on its boot clock: when the last look succeeded, and since when looks have
    succeeded without a gap. `server_s` is what Redis' clock said at the last look."""

    last_s: float
    steady_since_s: float
    server_s: float


def seen(contact: Contact | None, now_s: float, server_s: float) -> Contact:
    """The contact after a look that succeeded at `now_s`; a gap of more than two ticks starts it anew.

    So does a clock of Redis that went ahead by more than that (set anew, or another server's after a failover): every
    owner's deadline then seems to have passed, until each has beaten once by the new time.
    """
    if contact is None or now_s - contact.last_s > 2 * TICK_S:
        return Contact(now_s, now_s, server_s)
    ahead_s = (server_s - contact.server_s) - (now_s - contact.last_s)
    return Contact(now_s, now_s if ahead_s > 2 * TICK_S else contact.steady_since_s, server_s)


def may_reap_the_silent(contact: Contact) -> bool:
    """Whether everybody has had time to be heard: one beat, the longest backoff, and a call that had to time out."""
    return contact.last_s - contact.steady_since_s >= TICK_S + MAX_BACKOFF_S + CALL_TIMEOUT_S
