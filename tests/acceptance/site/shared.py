"""Async agents of the campaigns: their attempts share a process."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import proofq


@proofq.agent(timeout_s=60, proofs=[proofq.proofs.file("{out}", min_bytes=1, contains="done {text}")])
async def write_shared(ctx: Any, out: str, text: str, run_s: float = 0.0) -> dict[str, Any]:
    """Writes what proves it, after a while."""
    await asyncio.sleep(run_s)
    (ctx.workdir / out).write_text(f"done {text}\n")
    return {"wrote": out}


@proofq.agent(timeout_s=120, max_attempts=3, unproven=True)
async def gather(ctx: Any, how: str = "", go: str = "/never", run_s: float = 60.0) -> dict[str, Any]:
    """Waits for a file, or so long; `how` says what it does first. What shares a process with it is its neighbour."""
    if how == "block":
        print("about to block")
        time.sleep(run_s)
    if how == "hold the lock":
        # One call into C that never lets go of the interpreter's lock.
        re.match(r"(a+)+$", "a" * 64 + "b")
    if how == "deaf":
        await _deaf(go)
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    while how == "exit":
        if Path(f"{go}.{ctx.attempt}").exists():
            os._exit(3)
        await asyncio.sleep(0.05)
    end = time.monotonic() + run_s
    while not Path(go).exists() and time.monotonic() < end:
        await asyncio.sleep(0.05)
    return {"pid": os.getpid(), "attempt": ctx.attempt}


@proofq.agent(timeout_s=120, max_attempts=3, unproven=True)
async def bystander(ctx: Any, run_s: float = 1.0) -> dict[str, Any]:
    """Waits."""
    await asyncio.sleep(run_s)
    return {"pid": os.getpid()}


@proofq.agent(timeout_s=4, max_attempts=3, unproven=True)
async def swallows(ctx: Any, how: str = "", go: str = "/never") -> str:
    """Runs on after its cancel, by itself or in a task that it leaves behind; or heeds it."""
    if how == "leaves":
        task = asyncio.create_task(_deaf(go))
        await asyncio.sleep(0.1)
        return f"left {task.get_name()}"
    if how == "deaf":
        await _deaf(go)
    while not Path(go).exists():
        await asyncio.sleep(0.05)
    return "went"


async def _deaf(go: str) -> None:
    while not Path(go).exists():
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            print("I heard nothing")


@proofq.agent(timeout_s=60, max_attempts=1, unproven=True)
async def ends(ctx: Any, how: str) -> Any:
    """Ends in one of many ways."""
    if how == "raise":
        raise ZeroDivisionError("on purpose")
    if how == "timeout":
        async with asyncio.timeout(0.05):
            await asyncio.sleep(10)
    if how == "cancels itself":
        raise asyncio.CancelledError
    if how == "sys_exit":
        sys.exit(3)
    if how == "task exits":
        await asyncio.create_task(_exits())
    if how == "no json":
        return {"what": object()}
    if how == "mute":
        # What speaks for it is shut: nobody in this process can be heard any more.
        os.close(3)
        await asyncio.sleep(30)
    if how == "anyio":
        return await _in_anyio()
    if how == "group":
        async with asyncio.TaskGroup() as group:
            group.create_task(_raises(ConnectionResetError("reset by peer")))
    return how


async def _in_anyio() -> str:
    """Its task groups look into the coroutines of tasks, and end what they started."""
    import anyio

    heard: list[int] = []

    async def hear(number: int) -> None:
        await anyio.sleep(0.01 * number)
        heard.append(number)

    with anyio.move_on_after(0.05):
        await anyio.sleep(30)
    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(hear, number)
    return f"heard {sorted(heard)}"


@proofq.agent(timeout_s=60, stall_after_s=1.5, unproven=True)
async def steps_async(ctx: Any, how: str, run_s: float) -> int:
    """Works for so long, with another evidence each time, or in silence."""
    told, end = 0, time.monotonic() + run_s
    while time.monotonic() < end:
        told += 1
        if how == "tells":
            ctx.progress(told)
        if how == "prints":
            print(told)
        await asyncio.sleep(0.1)
    return told


async def _exits() -> None:
    sys.exit(3)


async def _raises(error: Exception) -> None:
    raise error


@proofq.agent(timeout_s=60, unproven=True)
async def tells_async(ctx: Any, word: str) -> dict[str, Any]:
    """Prints in all ways there are, and uses everything of ctx."""
    print(f"out {word}")
    print(f"err {word}", file=sys.stderr)
    ctx.log.info("log %s", word)
    ctx.progress({"word": word})
    await asyncio.gather(*(_says(f"task {number} {word}") for number in range(3)))
    await asyncio.to_thread(print, f"thread {word}")
    os.write(1, f"raw {word}\n".encode())
    child = await asyncio.create_subprocess_exec("echo", word, stdout=asyncio.subprocess.PIPE)
    ctx.state["word"] = word
    return {
        "workdir": str(ctx.workdir),
        "is_dir": ctx.workdir.is_dir(),
        "cwd": str(Path.cwd()),
        "home": os.environ["HOME"],
        "task_id": os.environ.get("PROOFQ_TASK_ID"),
        "state": dict(ctx.state),
        "repair": ctx.repair,
        "child": (await child.communicate())[0].decode(),
        "pid": os.getpid(),
    }


async def _says(text: str) -> None:
    await asyncio.sleep(0.01)
    print(text)
