"""What every peer does: the same as the agents of `../project/bench_agents.py`. Nobody reads the file back."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from pathlib import Path


def write(out: str) -> str:
    """Nothing but the file."""
    Path(out).write_text("done\n")
    return "done"


def ask(out: str, url: str) -> str:
    """Ask a provider once, and write down that it answered; as `../asking/asking_jobs.py`."""
    urllib.request.urlopen(url, timeout=20).read()
    Path(out).write_text("answered\n")
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
