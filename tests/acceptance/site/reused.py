"""Function agents of the campaigns whose tasks follow one another in a process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import proofq

#: Tasks of this process so far, this one included.
_count = 0


def _said() -> dict[str, Any]:
    global _count
    _count += 1
    names = ("PROOFQ_TASK_ID", "PROOFQ_ATTEMPT", "HOME", "TMPDIR")
    return {"pid": os.getpid(), "cwd": str(Path.cwd()), "count": _count, **{name: os.environ[name] for name in names}}


@proofq.agent(timeout_s=60, reuse=3, proofs=[proofq.proofs.file("{out}", min_bytes=1, contains="done {text}")])
def write_reused(ctx: Any, out: str, text: str) -> dict[str, Any]:
    """Writes what proves it, and says where it ran."""
    print(f"wrote {text}")
    Path(out).write_text(f"done {text}\n")
    return _said()


@proofq.agent(timeout_s=3, reuse=100, max_attempts=2, unproven=True)
def brief(ctx: Any, how: str = "") -> dict[str, Any]:
    """The same with little time."""
    return _ends(ctx, how, "/never")


@proofq.agent(timeout_s=60, reuse=100, max_attempts=2, unproven=True)
def again(ctx: Any, how: str = "", go: str = "/never") -> dict[str, Any]:
    """Ends badly in one of many ways, or says where it ran."""
    return _ends(ctx, how, go)


def _ends(ctx: Any, how: str, go: str) -> dict[str, Any]:
    if how == "raise once" and ctx.attempt == 1:
        raise ConnectionResetError("on purpose")
    if how == "exit":
        os._exit(3)
    if how == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "hang":
        while not Path(go).exists():
            time.sleep(0.02)
    return _said()


@proofq.agent(timeout_s=60, reuse=100, proofs=[proofq.proofs.file("{out}", min_bytes=1)])
def forgets_once(ctx: Any, out: str, go: str = "") -> dict[str, Any]:
    """Says it is done and has done nothing, the first time; given `go` it waits for that and does its work."""
    while go and not Path(go).exists():
        time.sleep(0.02)
    if go or ctx.attempt > 1:
        Path(out).write_text("done\n")
    return _said()
