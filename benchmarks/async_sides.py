"""Our side for async agents: four supervisors, as many attempts at a time in each as arq and saq take jobs."""

from __future__ import annotations

from benchmarks.sides import SLOTS, Ours
from proofq.workers import keys


class OursAsync(Ours):
    """One worker whose lane four supervisors share, ten slots each; async attempts of a supervisor share a process."""

    name = "proofq async"
    processes = SLOTS
    places = gates = SLOTS * 10
    _agents = ("write_async", "gate_async", "first_line_async")

    def enqueue(self, what: str, **inputs: str | float) -> None:
        super().enqueue(f"{what}_async", **inputs)

    def _command(self) -> list[str]:
        return [*super()._command(), "--slots", str(self.places)]

    def _environ(self) -> dict[str, str]:
        return {**super()._environ(), "PROOFQ_SUPERVISORS": str(SLOTS)}

    def _ready(self) -> bool:
        owners = [owner.decode() for owner in self.harness.zrange(keys.OWNERS, 0, -1)]
        ready = sum(self.harness.hget(keys.owner(owner), "state") == b"ready" for owner in owners)
        return bool(ready == SLOTS)
