"""Function agents of the campaigns."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import proofq

HERE = Path(__file__).parent


@contextmanager
def _alone(ctx: Any) -> Iterator[None]:
    """Tell of it when another attempt of the task is still alive: the kernel frees a lock with its process."""
    with Path(ctx.taskdir, "alone").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with Path(HERE, "overlaps").open("a") as told:
                told.write(f"{ctx.task_id} {ctx.attempt}\n")
        yield


def _write(ctx: Any, out: str, text: str, run_s: float) -> dict[str, Any]:
    """Write `out` in steps, and the word that proves it last; more than a supervisor reads by itself where its name
    begins with `long`."""
    steps = 12_000 if Path(out).name.startswith("long") else 1
    with _alone(ctx), Path(out).open("w", buffering=1) as file:
        file.write("begun\n" * steps)
        end = time.monotonic() + run_s
        while time.monotonic() < end:
            time.sleep(0.05)
            file.write("step\n")
        file.write(f"done {text}\n")
    return {"wrote": out}


@proofq.agent(timeout_s=60, max_attempts=50, proofs=[proofq.proofs.file("{out}", min_bytes=1, contains="done {text}")])
def write(ctx: Any, out: str, text: str, run_s: float) -> dict[str, Any]:
    """A steady writer."""
    return _write(ctx, out, text, run_s)


@proofq.agent(
    timeout_s=60, max_attempts=50, proofs=[proofq.proofs.python("proofs:changes_after_a_while", must_change=True)]
)
def judged_write(ctx: Any, out: str, text: str, run_s: float, proof_s: float) -> dict[str, Any]:
    """A writer whose proof takes its time, before the first attempt and after the claim."""
    return _write(ctx, out, text, run_s)


@proofq.agent(timeout_s=60, proofs=[proofq.proofs.file("{out}", contains="done {text}")])
def write_and_fell(ctx: Any, out: str, text: str) -> None:
    """Has done all of its work, at first a moment after its start, of which its supervisor dies."""
    _write_and_fell(ctx, out, text)


@proofq.agent(timeout_s=60, proofs=[proofq.proofs.file("{out}", contains="done {text}")])
async def write_and_fell_async(ctx: Any, out: str, text: str) -> None:
    """The same, in the process that all async attempts of a worker share."""
    _write_and_fell(ctx, out, text)


def _write_and_fell(ctx: Any, out: str, text: str) -> None:
    with Path(f"{out}.runs").open("a") as runs:
        runs.write(str(ctx.attempt))
    _write(ctx, out, text, 0.0)
    if ctx.attempt == 1:
        os.kill(_parent_of(os.getppid()), signal.SIGKILL)
        time.sleep(60)


@proofq.agent(timeout_s=600, max_attempts=3, unproven=True)
def hang(ctx: Any, run_s: float = 600.0, until: str = "/never") -> str:
    """Works on and on: for so long, or until a file is there."""
    end = time.monotonic() + run_s
    with _alone(ctx):
        while time.monotonic() < end and not Path(until).exists():
            time.sleep(0.02)
    return "ended"


@proofq.agent(timeout_s=60, max_attempts=3, unproven=True)
def quick(ctx: Any, word: str = "") -> dict[str, str]:
    """Says its word back."""
    return {"word": word}


@proofq.agent(timeout_s=60, max_attempts=2, unproven=True)
def broken(ctx: Any, how: str) -> None:
    """Ends badly, in one of many ways."""
    if how == "raise":
        raise ZeroDivisionError("on purpose")
    if how == "sys_exit_0":
        sys.exit(0)
    if how == "sys_exit_3":
        sys.exit(3)
    if how == "os_exit_0":
        os._exit(0)
    if how == "sigkill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "sigsegv":
        os.kill(os.getpid(), signal.SIGSEGV)
    raise ValueError(how)


@proofq.agent(timeout_s=60, max_attempts=9, unproven=True)
def poison(ctx: Any, whom: str) -> None:
    """Kill the process that started this one, or the one above it."""
    above = {"forkserver": os.getppid(), "supervisor": _parent_of(os.getppid())}
    above["launcher"] = _parent_of(above["supervisor"])
    os.kill(above[whom], signal.SIGKILL)
    time.sleep(60)


@proofq.agent(timeout_s=3, max_attempts=1, unproven=True)
def stubborn(ctx: Any, token: str) -> None:
    """Swallow every exception and signal, and leave processes everywhere."""
    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            continue
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.environ.clear()
            os.execvpe("sleep", ["sleep", f"70.{token}"], {"PATH": os.defpath})
        while True:
            time.sleep(1)
    subprocess.Popen(["/bin/sh", str(HERE / "stubborn.sh"), str(HERE), token], start_new_session=True)
    while True:
        try:
            time.sleep(0.01)
            sum(range(10_000))
        except BaseException:  # noqa: BLE001 - that is the point
            continue


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
