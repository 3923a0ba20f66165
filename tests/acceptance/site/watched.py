"""Function agents that are watched for progress, or told why their output was refused."""

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


@proofq.agent(timeout_s=60, proofs=[proofq.proofs.json({"type": "object", "properties": {"n": {"type": "integer"}}})])
def answers(ctx: Any, how: str) -> dict[str, Any]:
    """Gives a number as text first; what it was told in each attempt stands in its state."""
    ctx.state["told"] = [*ctx.state.get("told", []), ctx.repair]
    if how == "crashes_between" and ctx.attempt == 2:
        raise ZeroDivisionError("on purpose")
    if how == "hangs_second" and ctx.attempt == 2:
        time.sleep(60)
    learned = (ctx.repair is not None and how != "never") or (how == "crashes_between" and ctx.attempt == 3)
    return {"n": 1 if learned else "one", "told": ctx.state["told"]}
