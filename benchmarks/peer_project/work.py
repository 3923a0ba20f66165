"""What every peer does: the same as the agents of `../project/bench_agents.py`. Nobody reads the file back."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path


def write(out: str) -> str:
    """Nothing but the file."""
    Path(out).write_text("done\n")
    return "done"


def gate(out: str, up: str, go: str) -> str:
    """Hold a place until `go` exists."""
    Path(up).touch()
    while not Path(go).exists():
        time.sleep(0.02)
    return write(out)


async def gate_async(out: str, up: str, go: str) -> str:
    """The same, in an event loop."""
    Path(up).touch()
    while not Path(go).exists():
        await asyncio.sleep(0.02)
    return write(out)
