"""What an attempt of an agent takes of a slot, as far as it was seen: what its turns are charged.

The lease step shares slots by weight (lua/turns.lua); a worker tells it with each wish what it knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: How much of what is known the newest attempt is.
_NEWEST: Final = 0.2
#: The least that an attempt is charged: what differs below it is chance.
MIN_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class Seen:
    """Of one agent, by one worker: `typical_s` of the attempts that have ended (None: none has), and those that run:
    how many, and the sum of when they began, in seconds of one clock."""

    typical_s: float | None = None
    running: int = 0
    begun_s: float = 0.0

    def begins(self, now_s: float) -> Seen:
        """One more runs."""
        return Seen(self.typical_s, self.running + 1, self.begun_s + now_s)

    def ends(self, began_s: float, now_s: float) -> Seen:
        """One of them has ended: what is typical follows, a step."""
        took_s = max(0.0, now_s - began_s)
        typical_s = took_s if self.typical_s is None else self.typical_s + _NEWEST * (took_s - self.typical_s)
        left = self.running - 1
        return Seen(typical_s, left, self.begun_s - began_s if left else 0.0)

    def cost_us(self, now_s: float) -> int:
        """Microseconds that one more is expected to take: no less than those that run have taken so far, so that an
        agent that becomes slow is known as that at once. 0: nobody knows."""
        if self.typical_s is None:
            return 0
        run_s = now_s - self.begun_s / self.running if self.running else 0.0
        return round(1_000_000 * max(MIN_S, self.typical_s, run_s))


def words(weight: int, cost_us: int) -> str:
    """As the lease step reads it."""
    return f"{weight}:{cost_us}"
