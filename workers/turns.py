"""The queues that a supervisor asks for, each with what the lease step must know of it: gate, turn, caps."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from proofq.policies import turns
from proofq.policies.turns import Seen


@dataclass(frozen=True)
class Place:
    """One queue: its gate ('' = none), its agent's weight, and its caps as they are said to the lease step."""

    queue: str
    gate: str = ""
    weight: int = 1
    caps: str = ""

    def said(self, cost_us: int) -> str:
        """As leasing.lua reads it."""
        return f"{self.queue} {self.gate or '-'} {turns.words(self.weight, cost_us)} {self.caps}".rstrip()


class Turns:
    """What is asked for, while attempts begin and end. Safe from any thread; times are of one clock, in seconds."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._lock = threading.Lock()
        self._places = {place.queue: (number, place) for number, place in enumerate(places)}
        self._seen = {place.queue: Seen() for place in places}
        self._said = [place.said(0) for place in places]
        self._run: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._said)

    def began(self, queue: str, now_s: float) -> None:
        """An attempt of the queue has taken a slot."""
        with self._lock:
            if queue in self._seen:
                self._seen[queue] = self._seen[queue].begins(now_s)
                self._run[queue] = self._run.get(queue, 0) + 1

    def ended(self, queue: str, began_s: float, now_s: float) -> None:
        """Its slot is free."""
        with self._lock:
            if queue not in self._seen:
                return
            self._seen[queue] = self._seen[queue].ends(began_s, now_s)
            self._run[queue] -= 1
            if not self._run[queue]:
                del self._run[queue]
            self._say(queue, now_s)

    def asked(self, chance: float, now_s: float) -> list[str]:
        """The queues of a wish. They begin somewhere else each time, so that equals take turns; `chance` in [0, 1)."""
        with self._lock:
            if len(self._said) > 1:
                for queue in self._run:
                    self._say(queue, now_s)
            first = int(chance * len(self._said))
            return self._said[first:] + self._said[:first]

    def _say(self, queue: str, now_s: float) -> None:
        number, place = self._places[queue]
        self._said[number] = place.said(self._seen[queue].cost_us(now_s))
