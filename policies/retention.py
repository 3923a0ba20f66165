"""How long ended tasks are kept, and how much of them; the table [retention] of proofq.toml. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from proofq.policies.lifecycle import CANCELLED, EXPIRED, FAILED, FINISHED_UNPROVEN, QUARANTINED, VERIFIED

_DAY_S: Final = 86400.0
#: Ten years: for ever, to an operator.
MAX_SECONDS: Final = 315_360_000.0
MAX_MIB: Final = 1_000_000


@dataclass(frozen=True)
class Retention:
    """Names ending in `_s` are seconds since a task's end; 0 keeps none of them.

    What went well is asked for within days, if at all; what did not is looked at when somebody comes to it.
    `max_mib`: MiB that all ended tasks may take in Redis, the oldest go first; 0 sets no bound. `files_s`: how long the
    folders of ended tasks stay on a worker's host.
    """

    verified_s: float = 7 * _DAY_S
    finished_unproven_s: float = 7 * _DAY_S
    cancelled_s: float = 7 * _DAY_S
    failed_s: float = 30 * _DAY_S
    quarantined_s: float = 30 * _DAY_S
    expired_s: float = 30 * _DAY_S
    files_s: float = 7 * _DAY_S
    max_mib: int = 1024

    @property
    def keep_ms(self) -> dict[str, int]:
        """For each terminal state, for how many milliseconds its tasks are kept."""
        kept = {
            VERIFIED: self.verified_s,
            FINISHED_UNPROVEN: self.finished_unproven_s,
            CANCELLED: self.cancelled_s,
            FAILED: self.failed_s,
            QUARANTINED: self.quarantined_s,
            EXPIRED: self.expired_s,
        }
        return {state: round(seconds * 1000) for state, seconds in kept.items()}

    @property
    def max_bytes(self) -> int:
        """0 for no bound."""
        return self.max_mib * 1024 * 1024


NAMES: Final = tuple(each.name for each in fields(Retention))


def problem(name: str, value: object) -> str | None:
    """What is wrong with a setting, as the end of a sentence; None when nothing is."""
    if name not in NAMES:
        return f"unknown key {name!r:.80} of [retention]; known are {', '.join(NAMES)}"
    whole = not name.endswith("_s")
    high = MAX_MIB if whole else MAX_SECONDS
    wanted = f"a {'whole number' if whole else 'number of seconds'} from 0 to {high:.0f}"
    fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    # NaN is within no bounds.
    if not fits or not isinstance(value, int | float) or not 0 <= value <= high:
        return f"{name} is {value!r:.80}; it is {wanted}"
    return None
