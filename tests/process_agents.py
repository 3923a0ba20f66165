"""Agents for tests of processes, loaded by a real forkserver."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import io
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from proofq.workers import killing
from proofq.workers.asking import question
from proofq.workers.errors import BadInput, Error, NotProven


def preload(argument):
    """The agents of this file by name; `argument["thread"]` leaves a thread, `argument["broken"]` raises. With a path
    as `argument["deathless"]` nothing below the forkserver dies: a sleep in the kernel cannot be made to order."""
    if argument.get("broken"):
        raise ImportError("no module named nonsense")
    if argument.get("thread"):
        importlib.import_module("tests.leaves_thread")
    if "deathless" in argument:
        killing.kill_descendants = partial(_kill_nothing, Path(argument["deathless"]))
    return {
        name: one
        for name, one in globals().items()
        if callable(one) and getattr(one, "__module__", "") == __name__ and name != "preload"
    }


def _kill_nothing(path, within_s, **_):
    """Write down for how long it would have been tried, and say who is left."""
    path.write_text(str(within_s))
    return [4711]


def nothing(ctx):
    """Return nothing at once."""


def touch(ctx, path):
    """Make an empty file."""
    Path(path).touch()


async def touch_async(ctx, path):
    """The same, of an async agent."""
    touch(ctx, path)


async def blocks_async(ctx, up, go):
    """Keep the loop from turning until `go` exists."""
    touch(ctx, up)
    while not Path(go).exists():
        time.sleep(0.01)


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


_said = contextvars.ContextVar("said", default="nothing")
_kept: list[object] = []


def spoils(ctx, what):
    """Change or leave one thing that belongs to the process, and say its pid."""
    if what == "surroundings":
        os.chdir("/usr")
        os.environ["LEFT"] = "behind"
        os.environ["TZ"] = "Asia/Tokyo"
        time.tzset()
        os.umask(0)
        tempfile.tempdir = "/usr"
        _said.set("something")
        sys.stdout = io.StringIO()
        sys.stdin.read(1)
    elif what == "signals":
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.signal(signal.SIGALRM, lambda *_: os._exit(9))
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        sys.settrace(lambda *_: None)
    elif what == "a thread":
        threading.Thread(target=_forever, daemon=True).start()
    elif what == "a joined thread":
        thread = threading.Thread(target=time.sleep, args=(0.01,))
        thread.start()
        thread.join()
    elif what == "a descriptor":
        _kept.append(os.open("/dev/null", os.O_RDONLY))
    elif what == "a descriptor for the collector":
        holder: list[object] = [Path("/dev/null").open()]  # noqa: SIM115 - left open on purpose
        holder.append(holder)
    elif what == "a limit":
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    elif what == "a priority":
        os.nice(1)
    elif what == "memory":
        _kept.append(bytearray(os.urandom(4096)) * (80 * 256))
    elif what == "a closed report":
        os.close(5)
    elif what == "a zombie":
        if os.fork() == 0:
            os._exit(0)
        time.sleep(0.1)
    elif what == "a process" and os.fork() == 0:
        os.setsid()
        _forever()
    return {"pid": os.getpid()}


def obeys(ctx):
    """Return well once it is told to end."""
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(1))
    print("asleep", flush=True)
    while not told:
        time.sleep(0.01)
    return "obeyed"


def surroundings(ctx):
    """What an attempt before could have changed."""
    return {
        "pid": os.getpid(),
        "cwd": str(Path.cwd()),
        "env": dict(os.environ),
        "zone": time.tzname[0],
        "umask": os.umask(0o077),
        "tmp": tempfile.gettempdir(),
        "said": _said.get(),
        "stdin": sys.stdin.read(),
        "fds": sorted(int(one.name) for one in Path("/proc/self/fd").iterdir()),
        "handlers": [str(signal.getsignal(one)) for one in (signal.SIGTERM, signal.SIGALRM)],
        "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "trace": str(sys.gettrace()),
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "oom": Path("/proc/self/oom_score_adj").read_text().strip(),
    }


def lies_done(ctx, how, path):
    """Claim a result and the end of the attempt, and go on by whatever means there is."""
    said = json.dumps({"done": _sid()}).encode()
    if how == "a thread":
        threading.Thread(target=_writes, args=(path,), daemon=True).start()
    elif how == "a process" and os.fork() == 0:
        os.setsid()
        _writes(path)
    os.write(3, b'{"result":"lie"}\n')
    if how != "only stops":
        os.write(5, struct.pack(">I", len(said)) + said)
    if how == "does not stop":
        time.sleep(0.5)
        Path(path).write_text("late")
        return "end"
    os.kill(os.getpid(), signal.SIGSTOP)
    return _writes(path)


def _sid():
    """The number of this spawn, out of our own code's memory: an agent can read all of it."""
    frame = sys._getframe().f_back
    while frame is not None and "told" not in frame.f_locals:
        frame = frame.f_back
    return frame and frame.f_locals["told"]["sid"]


def _writes(path):
    while True:
        with Path(path).open("a") as file:
            file.write("x")
        time.sleep(0.005)


def asks(ctx, ops, within_s=20.0):
    """Ask the supervisor each [op, args]; what came of it: ["value", it] or [class, message]."""
    return [_asked(ctx, op, args, within_s) for op, args in ops]


def _asked(ctx, op, args, within_s=20.0):
    try:
        return ["value", ctx._ask(op, args, within_s)]
    except Error as error:
        return [type(error).__name__, str(error)]


async def asks_async(ctx, ops, within_s=20.0):
    """The same, all at once, of an async agent."""

    async def ask(op, args):
        try:
            return ["value", await ctx._ask(op, args, within_s)]
        except Error as error:
            return [type(error).__name__, str(error)]

    return list(await asyncio.gather(*(ask(op, args) for op, args in ops)))


def asks_in_threads(ctx, count):
    """The same from threads at once, in order of their numbers."""
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(lambda n: _asked(ctx, "echo", {"n": n}), range(count)))


def asks_and_never_reads(ctx, count, args):
    """Write questions to the report and do not look for answers."""
    for n in range(count):
        ctx._reporter.send("ask", question(n, "large", json.dumps(args).encode(), 20.0))
        time.sleep(0.01)
    return "asked"


def asks_in_a_fork(ctx):
    """What a process that the agent forks is answered."""
    _asked(ctx, "echo", {})
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.write(writing, _asked(ctx, "echo", {})[1].encode())
        os._exit(0)
    os.close(writing)
    os.wait()
    said = os.read(reading, 10_000).decode()
    os.close(reading)
    return said
