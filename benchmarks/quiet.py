"""How busy the machine is with others: a figure of a busy machine is marked as one."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proofq.workers import redis_binary
from tests.servers import binaries

#: Cores that others may use, before a round, without its being called loaded.
MOST_BUSY = 1.0
#: Seconds over which that is looked at, while nothing of the bench runs.
LOOK_S = 1.0


@dataclass(frozen=True)
class Before:
    """The machine before a round. `load`: its load average of the last minute, which our own last round is part of;
    `busy`: cores in use just then, when nothing of ours ran."""

    load: float
    busy: float

    @property
    def loaded(self) -> bool:
        """Whether others used more than one core."""
        return self.busy > MOST_BUSY

    def __str__(self) -> str:
        return f"load {self.load:.1f}, {self.busy:.1f} cores in use before{' - LOADED' if self.loaded else ''}"


class Loads:
    """What was seen before each round. `within_s`: how long a round may wait for the machine to be quiet."""

    def __init__(self, within_s: float = 0.0) -> None:
        self.seen: list[Before] = []
        self._within_s = within_s

    def before_round(self) -> Before:
        """Look, waiting for quiet as long as it may, and keep what was seen last."""
        until_s = time.monotonic() + self._within_s
        while (seen := look()).loaded and time.monotonic() < until_s:
            pass
        self.seen.append(seen)
        return seen

    @property
    def loaded(self) -> bool:
        """Whether any round began on a busy machine."""
        return any(one.loaded for one in self.seen)

    def figures(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "loaded": self.loaded,
            "load_before_each_round": [round(one.load, 2) for one in self.seen],
            "cores_busy_before_each_round": [round(one.busy, 2) for one in self.seen],
        }


def look() -> Before:
    """How busy the machine is now."""
    idle, total = _ticks()
    time.sleep(LOOK_S)
    idle_then, total_then = _ticks()
    share = 1 - (idle_then - idle) / max(1, total_then - total)
    return Before(os.getloadavg()[0], share * (os.cpu_count() or 1))


def machine() -> dict[str, Any]:
    """What was measured on."""
    server = redis_binary.identify(binaries()[0])
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "python": platform.python_version(),
        "server": f"{server.product} {server.version}",
    }


def _ticks() -> tuple[int, int]:
    """Of all cores so far: idle (waiting for disks is idle), and all."""
    fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return fields[3] + fields[4], sum(fields)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
