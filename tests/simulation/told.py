"""What failures tell: each one that was settled is counted in its incident, and no other."""

from __future__ import annotations

import itertools
from typing import Any

from proofq.policies.incident_rules import MAX_SECONDS, Rules
from proofq.workers import keys
from proofq.workers.clock import SystemClock
from proofq.workers.incidents import Reporting
from tests.simulation.hub import Broken
from tests.simulation.lean import LeanClient

#: Every cause is one incident from its first failure on, for as long as a seed lasts.
RULES = Rules(threshold=1, window_s=MAX_SECONDS, keep_s=MAX_SECONDS)


class _Numbers(SystemClock):
    """Ids of incidents that take nothing from a seed's chance."""

    def __init__(self) -> None:
        super().__init__()
        self._next = itertools.count(1)

    def token(self) -> str:
        return f"{next(self._next):08x}"


def reporting() -> Reporting:
    """For the doors of a fleet."""
    return Reporting(RULES, {"looker": "p"}, _Numbers())


class Told:
    """Counts what settlements told, beside Redis."""

    def __init__(self) -> None:
        self._count = 0

    def settled(self, plan: dict[str, Any]) -> None:
        self._count += "incident" in plan

    def check(self, client: LeanClient) -> None:
        """Raises Broken where Redis counted more or fewer."""
        counted = 0
        for key in (keys.INCIDENTS, keys.SEEN):
            for name in client.execute_command("ZRANGE", key, 0, -1):
                counted += int(client.hget(keys.incident(name.decode()), "count") or 0)
        if counted != self._count:
            raise Broken(f"incidents_miscounted: {self._count} failures were settled, {counted} are counted")
