"""Python proofs of the campaigns."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import proofq


def says_done_after_a_while(facts: Any) -> dict[str, Any]:
    """The file ends with the task's word; looking takes `proof_s` seconds."""
    time.sleep(facts.inputs["proof_s"])
    return _says_done(facts)


def changes_after_a_while(facts: Any) -> dict[str, Any]:
    """The same, for a proof that also looks before the first attempt: half the time each."""
    time.sleep(facts.inputs["proof_s"] / 2)
    return _says_done(facts)


def nothing_runs(facts: Any) -> dict[str, Any]:
    """None of the processes that the agent wrote down is alive, and its file grows no more."""
    out = Path(facts.inputs["out"])
    pids = [int(line) for line in out.with_name(out.name + ".pids").read_text().split()]
    alive = [pid for pid in pids if _alive(pid)]
    size = out.stat().st_size
    time.sleep(0.1)
    if alive or out.stat().st_size != size:
        raise proofq.NotProven(f"still running: {alive}, growing: {out.stat().st_size != size}")
    return {"pids": pids}


def cannot_tell(facts: Any) -> dict[str, Any]:
    """Nobody can say."""
    raise RuntimeError("the world is not to be seen from here")


def _says_done(facts: Any) -> dict[str, Any]:
    path = Path(facts.inputs["out"])
    last = path.read_text().splitlines()[-1:] if path.exists() else []
    if last != [f"done {facts.inputs['text']}"]:
        raise proofq.NotProven(f"{path} ends with {last}")
    return {"last": last[0]}


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
