"""What stock RQ runs: the same work as `bench_agents.py`, with nobody reading the file back."""

from __future__ import annotations

import os
import time
from pathlib import Path


def write(out: str) -> str:
    """Nothing but the file."""
    Path(out).write_text("done\n")
    return "done"


def gate(out: str, up: str, go: str) -> str:
    """Hold a worker until `go` exists."""
    Path(up).touch()
    while not Path(go).exists():
        time.sleep(0.005)
    Path(out).write_text("done\n")
    return "done"


def first_line(out: str, fifo: str) -> str:
    """Say when the first line ran."""
    now = time.clock_gettime(time.CLOCK_MONOTONIC)
    descriptor = os.open(fifo, os.O_WRONLY)
    os.write(descriptor, f"{now:.9f}\n".encode())
    os.close(descriptor)
    Path(out).write_text("done\n")
    return "done"
