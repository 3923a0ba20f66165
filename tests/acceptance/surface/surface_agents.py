"""Function agents for rows of the failure surface."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import proofq


@proofq.agent(timeout_s=60, unproven=True)
def fail_then_wait(ctx: Any, release: str) -> str:
    """Fails at first; the second attempt goes on until it is released."""
    if ctx.attempt == 1:
        raise ZeroDivisionError("the first attempt fails")
    while not Path(release).exists():
        time.sleep(0.02)
    return "released"


OWNER_IS_SET = proofq.proofs.record("{db}", "select owner from accounts where id = ?", ["{id}"], equals="{owner}")


@proofq.agent(timeout_s=60, max_attempts=2, proofs=[OWNER_IS_SET])
def update_record(ctx: Any, db: str, id: int, owner: str, touched: int) -> dict[str, Any]:  # noqa: A002
    """Updates record `touched` and reports success about record `id`."""
    with sqlite3.connect(db) as opened:
        opened.execute("update accounts set owner = ? where id = ?", (owner, touched))
    return {"status": "success", "id": id, "owner": owner}


def _finish_and_stay(ctx: Any, out: str) -> None:
    with Path(ctx.taskdir, "runs").open("a") as runs:
        runs.write(f"{ctx.attempt}\n")
    Path(out).write_text('{"complete": true}')
    while ctx.attempt == 1:
        time.sleep(0.02)


COMPLETE = {"type": "object", "required": ["complete"], "properties": {"complete": {"const": True}}}


@proofq.agent(timeout_s=60, look_first=True, proofs=[proofq.proofs.file("{out}", json_schema=COMPLETE)])
def finish_and_stay(ctx: Any, out: str) -> None:
    """Has done all of its work, and does not come to say so."""
    _finish_and_stay(ctx, out)


@proofq.agent(timeout_s=60, proofs=[proofq.proofs.file("{out}", json_schema=COMPLETE, same_ok=True)])
def finish_and_stay_unlooked(ctx: Any, out: str) -> None:
    """The same, declared without look_first: after an unknown end it runs again."""
    _finish_and_stay(ctx, out)


@proofq.agent(timeout_s=60, look_first=True, proofs=[proofq.proofs.file("{out}", json_schema=COMPLETE)])
def finish_and_fell(ctx: Any, out: str) -> None:
    """Has done all of its work before anybody wrote down that it was started, and its supervisor dies of that."""
    forkserver = Path(f"/proc/{os.getppid()}/stat").read_text()
    with Path(ctx.taskdir, "runs").open("a") as runs:
        runs.write(f"{ctx.attempt}\n")
    Path(out).write_text('{"complete": true}')
    if ctx.attempt == 1:
        os.kill(int(forkserver.rpartition(")")[2].split()[1]), signal.SIGKILL)
        time.sleep(60)
