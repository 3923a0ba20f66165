"""Agents that only wait."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import proofq


@proofq.agent(timeout_s=300, unproven=True)
async def sleeps(ctx: Any, run_s: float = 1.0) -> str:
    """Waits for so long, as for a reply."""
    await asyncio.sleep(run_s)
    return "done"


@proofq.agent(timeout_s=60, proofs=[proofq.proofs.file("{out}", min_bytes=1)])
async def write_async(ctx: Any, out: str) -> str:
    """Nothing but the file that proves it."""
    Path(out).write_text("done\n")
    return "done"
