"""Function agents that are watched for progress."""

from __future__ import annotations

import time
from typing import Any

import proofq


@proofq.agent(timeout_s=60, stall_after_s=1.5, unproven=True)
def tells(ctx: Any, how: str, run_s: float) -> int:
    """Works in silence but for ctx.progress: another evidence each time, the same, or none."""
    begun, told = time.monotonic(), 0
    while time.monotonic() < begun + run_s:
        if how != "nothing":
            ctx.progress({"step": told if how == "changing" else 0})
        told += 1
        time.sleep(0.1)
    return told
