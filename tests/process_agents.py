"""Agents for tests of processes, loaded by a real forkserver, and what a forkserver calls at a burial."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from proofq.workers.errors import BadInput, NotProven


def preload(argument):
    """The agents of this file by name; `argument["thread"]` leaves a thread, `argument["broken"]` raises."""
    if argument.get("broken"):
        raise ImportError("no module named nonsense")
    if argument.get("thread"):
        importlib.import_module("tests.leaves_thread")
    return {
        name: one
        for name, one in globals().items()
        if callable(one) and getattr(one, "__module__", "") == __name__ and name != "preload"
    }


def bury(argument):
    """Write down that it was called, and by whom."""
    path = Path(argument["path"])
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps({"pid": os.getpid(), "owner": argument["owner"]}))
    draft.rename(path)


def nothing(ctx):
    """Return nothing at once."""


def touch(ctx, path):
    """Make an empty file."""
    Path(path).touch()


def echo(ctx, **inputs):
    """Everything the child knows of its surroundings, and its inputs."""
    return {
        "inputs": inputs,
        "pid": os.getpid(),
        "ppid": os.getppid(),
        "sid": os.getsid(0),
        "cwd": str(Path.cwd()),
        "env": dict(os.environ),
        "umask": os.umask(0o077),
        "fds": sorted(int(one.name) for one in Path("/proc/self/fd").iterdir()),
        "stdin": sys.stdin.read(),
        "oom": Path("/proc/self/oom_score_adj").read_text().strip(),
        "term": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
        "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "pipe": subprocess.run("kill -PIPE $$", shell=True).returncode,
        "threads": threading.active_count(),
        "ctx": [ctx.task_id, ctx.attempt, str(ctx.workdir), str(ctx.taskdir), ctx.repair],
    }


def value(ctx, source):
    """Whatever the Python expression `source` gives."""
    return eval(source)


def raises(ctx, kind):
    """Raise an error of a class."""
    print("about to raise")
    raise {"bad": BadInput("bad"), "proof": NotProven("no"), "bug": KeyError("k"), "memory": MemoryError()}[kind]


def leaves(ctx, code):
    """End the process without a word."""
    os._exit(code)


def segfault(ctx):
    """Die by a signal of its own."""
    os.kill(os.getpid(), signal.SIGSEGV)


def remembers(ctx):
    """Count its attempts in the task's state."""
    ctx.state["n"] = ctx.state.get("n", 0) + 1
    return dict(ctx.state)


def progresses(ctx, steps):
    """Give each evidence twice."""
    for step in range(steps):
        ctx.progress({"step": step})
        ctx.progress({"step": step})
    ctx.log.warning("done with %d", steps)
    print("to stdout")


def sleeps(ctx, seconds=300):
    """Do nothing for long."""
    print("asleep", flush=True)
    time.sleep(seconds)


def heavy(ctx, mebibytes):
    """Leave a process behind that is slow to die: the kernel has so much to give back first."""
    printed, say_printed = os.pipe()
    if os.fork() == 0:
        os.setsid()
        held = bytearray(os.urandom(4096)) * (mebibytes * 256)
        print(os.getpid(), flush=True)
        os.write(say_printed, b"x")
        _forever()
        held.clear()
    os.read(printed, 1)


def stubborn(ctx, copies=5, ends=False):
    """Ignore every exception and TERM, and leave the tree `copies` times by two forks, two sessions and no env.

    Prints all pids. `ends`: the first process returns and leaves the others behind.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    printed, say_printed = os.pipe()
    for copy in range(copies):
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            os.setsid()
            print(os.getpid(), flush=True)
            os.write(say_printed, b"x")
            if copy % 2:
                os.kill(os.getpid(), signal.SIGSTOP)
            _forever()
    for _ in range(copies):
        os.read(printed, 1)
    print(os.getpid(), flush=True)
    if not ends:
        _forever()


def _forever():
    while True:
        try:
            time.sleep(300)
        except BaseException:  # noqa: BLE001 - what the worst of agents do
            continue


def bomb(ctx, processes):
    """Fork until there are so many, each of which forks again when a sibling dies."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    read_end, write_end = os.pipe()
    os.write(write_end, b"x" * (processes - 1))
    while os.read(read_end, 1):
        if os.fork() == 0:
            os.setsid()
    _forever()


def floods(ctx, mebibytes):
    """Print much, and a last word."""
    block = b"x" * (1024 * 1024)
    for _ in range(mebibytes):
        os.write(1, block)
    os.write(1, b"last word")


def prove(facts):
    """A proof: the file named in the inputs has text."""
    text = Path(facts.inputs["path"]).read_text()
    if not text:
        raise NotProven("it is empty")
    return {"text": text}
