"""The measured agents. `bench_jobs.py` does the same for stock RQ."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import proofq

WRITTEN = proofq.proofs.file("{out}", min_bytes=1)


def _said_when(out: str, fifo: str) -> str:
    now = time.clock_gettime(time.CLOCK_MONOTONIC)
    descriptor = os.open(fifo, os.O_WRONLY)
    os.write(descriptor, f"{now:.9f}\n".encode())
    os.close(descriptor)
    Path(out).write_text("done\n")
    return "done"


@proofq.agent(timeout_s=60, proofs=[WRITTEN])
def write(ctx: Any, out: str) -> str:
    """Nothing but the file that proves it."""
    Path(out).write_text("done\n")
    return "done"


@proofq.agent(timeout_s=300, proofs=[WRITTEN])
def gate(ctx: Any, out: str, up: str, go: str) -> str:
    """Hold a slot until `go` exists, so that a measurement begins with every slot up and the queue full."""
    Path(up).touch()
    while not Path(go).exists():
        time.sleep(0.005)
    Path(out).write_text("done\n")
    return "done"


@proofq.agent(timeout_s=60, proofs=[WRITTEN])
def first_line(ctx: Any, out: str, fifo: str) -> str:
    """Say when the first line ran."""
    return _said_when(out, fifo)


@proofq.agent(timeout_s=60, reuse=100, proofs=[WRITTEN])
def write_reused(ctx: Any, out: str) -> str:
    """The same as `write`, a hundred in a process."""
    Path(out).write_text("done\n")
    return "done"


@proofq.agent(timeout_s=60, proofs=[WRITTEN])
async def write_async(ctx: Any, out: str) -> str:
    """The same as `write`, in the process that all async attempts of a worker share."""
    Path(out).write_text("done\n")
    return "done"


@proofq.agent(timeout_s=300, proofs=[WRITTEN])
async def gate_async(ctx: Any, out: str, up: str, go: str) -> str:
    """Hold a slot until `go` exists."""
    Path(up).touch()
    while not Path(go).exists():
        await asyncio.sleep(0.02)
    Path(out).write_text("done\n")
    return "done"


@proofq.agent(timeout_s=60, proofs=[WRITTEN])
async def first_line_async(ctx: Any, out: str, fifo: str) -> str:
    """Say when the first line ran."""
    return _said_when(out, fifo)


@proofq.agent(timeout_s=60, unproven=True)
async def first_line_unproven(ctx: Any, out: str, fifo: str) -> str:
    """The same, of an agent whose word is taken."""
    return _said_when(out, fifo)
