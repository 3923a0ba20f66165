"""Our side for async agents: four worker processes, as many attempts at a time in each as arq and saq take jobs."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.sides import SLOTS, Ours, program
from proofq.workers import keys


class OursAsync(Ours):
    """Four workers of ten slots; async attempts of a worker share one process."""

    name = "proofq async"
    processes = SLOTS
    places = gates = SLOTS * 10
    _agents = ("write_async", "gate_async", "first_line_async")

    def enqueue(self, what: str, **inputs: str | float) -> None:
        super().enqueue(f"{what}_async", **inputs)

    def _command(self) -> list[str]:
        several = str(Path(__file__).with_name("several.py"))
        return [sys.executable, several, str(SLOTS), program("proofq"), "worker", "--lane", "work", "--slots", "10"]

    def _ready(self) -> bool:
        owners = [owner.decode() for owner in self.harness.zrange(keys.OWNERS, 0, -1)]
        ready = sum(self.harness.hget(keys.owner(owner), "state") == b"ready" for owner in owners)
        return bool(ready == SLOTS)
