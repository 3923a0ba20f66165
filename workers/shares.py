"""How the slots of a worker's lane are cut among the supervisors that serve it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Share:
    """The slots of one supervisor: `count` of them, numbered from `first` within the lane."""

    first: int
    count: int


def shares(slots: int, supervisors: int) -> list[Share]:
    """As even as it goes; no supervisor without a slot."""
    parts = min(slots, supervisors)
    cuts = [slots * part // parts for part in range(parts + 1)] if parts else []
    return [Share(low, high - low) for low, high in pairwise(cuts)]
