"""A child of the forkserver that has attempts one after another, and what it puts back between two of them.

After an attempt that ended well it says so, and stops itself: the forkserver looks at it from outside, and continues it
once there is another attempt (`workers.reuse`). After any other end, and when something cannot be put back, it exits
with the attempt's code like every child.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import gc
import os
import resource
import signal
import socket
import sys
import tempfile
import time
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from proofq.workers import child
from proofq.workers.fork import Stage, take_place_again
from proofq.workers.wire import Channel

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from proofq.workers.preload import Agents

#: A child that holds so much more memory than before its first attempt has no further one.
MAX_GROWTH_BYTES: Final = 64 * 1024 * 1024
#: Looks, a millisecond apart, for the end of a thread that was joined: the kernel takes a moment longer.
_THREAD_LOOKS: Final = 20
#: Signals 32 and 33, which the C library catches once there has been a thread.
_OF_THREADS: Final = 0b11 << 31
_TIMERS: Final = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


def serve(told: Mapping[str, Any], agents: Agents, control: int) -> int:
    """Have the attempt of the spawn message `told`, and those that come after it on the socket `control`.

    Returns the exit code of the last one. Raises StepFailed where a later one cannot take its place.
    """
    channel = Channel(socket.socket(fileno=control))
    standing = Standing.now({0, 1, 2, told["report"], control})
    while True:
        # In variables of its own: what it sets in them is gone with it.
        code = copy_context().run(child.run, told["runner"], agents, told["env"], told["payload"], told["report"])
        if code != 0 or not standing.put_back():
            return code
        channel.put({"done": told["sid"]})
        os.kill(os.getpid(), signal.SIGSTOP)
        told = _next(channel, control)


def _next(channel: Channel, control: int) -> Mapping[str, Any]:
    message = next(channel.receive(), None)
    if message is None:
        # The forkserver is gone.
        os._exit(0)
    told = message.body
    fds = {**dict(zip(told["targets"], message.fds, strict=True)), control: control}
    private = frozenset({told["report"], told["payload"], control})
    take_place_again(Stage(told["cwd"], fds, told["report"], private, told["ticks"]))
    child.set_stdin()
    return told


@dataclass(frozen=True, slots=True)
class Standing:
    """How the process stood before its first attempt. `fds` are the descriptors it may keep."""

    fds: Collection[int]
    handlers: Mapping[int, Any]
    mask: Collection[int]
    streams: Mapping[str, Any]
    fixed: tuple[Any, ...]
    bytes: int

    @classmethod
    def now(cls, fds: Collection[int]) -> Standing:
        """As it is now."""
        return cls(
            fds,
            {number: _signal.getsignal(number) for number in range(1, _signal.NSIG)},
            _signal.pthread_sigmask(signal.SIG_BLOCK, ()),
            {name: getattr(sys, name) for name in ("stdout", "stderr", "__stdout__", "__stderr__")},
            _fixed(),
            _bytes(),
        )

    def put_back(self) -> bool:
        """Put back what can be. False when something cannot be, or is left over: then no attempt may follow."""
        try:
            self._restore()
            _collect_dead()
            if not self._as_it_was():
                # What only waits for the collector is not left over.
                gc.collect()
            return self._as_it_was() and _fixed() == self.fixed and _bytes() - self.bytes <= MAX_GROWTH_BYTES
        except BaseException:  # noqa: BLE001 - an agent's signal handler may still raise anything
            return False

    def _restore(self) -> None:
        sys.settrace(None)
        sys.setprofile(None)
        for timer in _TIMERS:
            signal.setitimer(timer, 0)
        _signal.set_wakeup_fd(-1)
        for number, handler in self.handlers.items():
            if handler is not None and _signal.getsignal(number) is not handler:
                _signal.signal(number, handler)
        _signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)
        for name, stream in self.streams.items():
            setattr(sys, name, stream)
            stream.flush()
        os.environ.clear()
        time.tzset()
        tempfile.tempdir = None
        # Not in a folder that somebody will want to remove.
        os.chdir("/")
        os.umask(0o077)

    def _as_it_was(self) -> bool:
        """Whether no descriptor and no thread is left."""
        # The folder's own descriptor is in the list and closed already.
        found = {int(name) for name in os.listdir("/proc/self/fd")}  # noqa: PTH208 - descriptors, not paths
        left = [number for number in found - set(self.fds) if _is_open(number)]
        return not left and set(self.fds) <= found and _is_single()


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _is_single() -> bool:
    for _ in range(_THREAD_LOOKS):
        if len(os.listdir("/proc/self/task")) == 1:  # noqa: PTH208 - threads, not paths
            return True
        time.sleep(0.001)
    return False


def _collect_dead() -> None:
    """Children that have ended and were not waited for. Who lives is seen from outside."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _fixed() -> tuple[Any, ...]:
    """What a process cannot be trusted to get back once it has changed: rights, limits, signals as the kernel has them,
    priority, processors, timers."""
    status = Path("/proc/self/status").read_bytes()
    blocked, ignored, caught, *rest = status[status.index(b"SigBlk") : status.index(b"voluntary_ctxt")].splitlines()
    return (
        (blocked, ignored, int(caught.split()[1], 16) & ~_OF_THREADS, rest),
        os.getresuid(),
        os.getresgid(),
        os.getgroups(),
        os.getpriority(os.PRIO_PROCESS, 0),
        os.sched_getscheduler(0),
        Path("/proc/self/limits").read_bytes(),
        _timers(),
    )


def _timers() -> bytes:
    """Timers that go on without an object of Python's; b"" where the kernel does not list them."""
    try:
        return Path("/proc/self/timers").read_bytes()
    except OSError:
        return b""


def _bytes() -> int:
    """Memory that it holds."""
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * resource.getpagesize()
