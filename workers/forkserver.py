"""The forkserver: the one process of a lane that starts others. `python -m proofq.workers.forkserver --fd N`.

It has a single thread, the project's agents in memory, and one end of a socket pair whose other end is the
supervisor's. When the supervisor is gone or silent it kills everything below itself and becomes who buries the owner.
It never speaks to the store itself: every child would copy, and every fork pay for, what that takes.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import socket
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn

from proofq.workers import proctree
from proofq.workers.child import set_streams
from proofq.workers.clock import SystemClock
from proofq.workers.fork import memory_file
from proofq.workers.forkloop import ForkLoop
from proofq.workers.guard import OWNER_VARIABLE
from proofq.workers.interpreter import fresh_interpreter
from proofq.workers.preload import Agents, Preload, ThreadWatch
from proofq.workers.wire import Channel

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds the burial may take before the kernel ends this process.
_BURY_WITHIN_S = 30


@dataclass(frozen=True)
class Config:
    """The first message. `owner` is the marker's text; `bury` is a module that is run with the descriptor of a file
    that holds `bury_argument` as JSON."""

    owner: str
    preload: Preload
    bury: str | None = None
    bury_argument: Mapping[str, Any] = field(default_factory=dict)
    #: None before agents were loaded; the modules that left a thread, once that is known to be so.
    threads: tuple[str, ...] | None = None
    #: Children that are kept forked ahead of their attempts.
    standby: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As a JSON object with exactly this class's field names."""
        return {
            "owner": self.owner,
            "preload": self.preload.to_dict(),
            "bury": self.bury,
            "bury_argument": dict(self.bury_argument),
            "threads": None if self.threads is None else list(self.threads),
            "standby": self.standby,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Config:
        """Read what `to_dict` wrote."""
        threads = data["threads"]
        return cls(
            data["owner"],
            Preload.from_dict(data["preload"]),
            data["bury"],
            data["bury_argument"],
            None if threads is None else tuple(threads),
            data["standby"],
        )


def main() -> None:
    """Be the forkserver on the descriptor that `--fd` names, until its supervisor wants or needs no more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--config", type=int)
    options = parser.parse_args()
    # Whoever signals the whole group or the service (a terminal, an init) means the launcher. Blocked rather than
    # ignored, so that a child needs but one call to be as any other process.
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    environ = dict(os.environ)
    proctree.become_subreaper()
    supervisor = os.getppid()
    channel = Channel(socket.socket(fileno=options.fd))
    config = _receive_config(channel) if options.config is None else _read_config(options.config)
    agents = None
    if config.threads is None:
        agents, culprits = _load(channel, config)
        if culprits:
            _start_over(channel, replace(config, threads=tuple(culprits)), environ)
    channel.put({"type": "ready", "threads": list(config.threads or ()), "agents": sorted(agents or ())})
    _flush_streams()
    # What is done here need not be done, and paid for in copied pages, by each child.
    set_streams()
    os.environ.clear()
    time.tzset()
    gc.collect()
    gc.freeze()
    loop = ForkLoop(channel, config.owner, config.preload, agents, SystemClock(), config.standby)
    over = loop.run()
    if over == "shutdown":
        return
    if over == "silent" and os.getppid() == supervisor:
        # Its agents are dead and its leases about to be taken: dead, its lane can be started anew.
        os.kill(supervisor, signal.SIGKILL)
    # Nobody is told that all are dead while one is not: a reaper on this host tries to kill it, again and again.
    if config.bury is not None and not loop.left:
        signal.alarm(_BURY_WITHIN_S)
        # A worker that starts on this host meanwhile, of another fleet maybe, kills what carries a dead one's marker.
        unmarked = {name: value for name, value in environ.items() if name != OWNER_VARIABLE}
        _become(config.bury, [], config.bury_argument, unmarked)


def _receive_config(channel: Channel) -> Config:
    first = next(channel.receive(), None)
    if first is None:
        sys.exit(0)
    return Config.from_dict(first.body)


def _read_config(descriptor: int) -> Config:
    with open(descriptor, "rb") as file:
        return Config.from_dict(json.load(file))


def _load(channel: Channel, config: Config) -> tuple[Agents, list[str]]:
    """The agents, and the modules that left a thread. What a module raises is said, and ends this process."""
    watch = ThreadWatch()
    try:
        with watch.watching():
            agents = config.preload.load()
    except BaseException as error:  # noqa: BLE001 - a user's module may raise anything, SystemExit too
        traceback.print_exception(error)
        channel.put({"type": "refused", "reason": f"{type(error).__name__}: {error}"})
        _flush_streams()
        os._exit(1)
    return agents, watch.culprits()


def _start_over(channel: Channel, config: Config, environ: Mapping[str, str]) -> NoReturn:
    """Become a process that has loaded nothing, under the same pid: threads do not survive an exec."""
    _flush_streams()
    os.set_inheritable(channel.fileno(), True)
    _become("proofq.workers.forkserver", ["--fd", str(channel.fileno()), "--config"], config.to_dict(), environ)


def _become(module: str, options: list[str], told: Mapping[str, Any], environ: Mapping[str, str]) -> NoReturn:
    """Run a module in this process's place; its last argument is the descriptor of a file that holds `told`."""
    with memory_file(json.dumps(dict(told)).encode("ascii")) as descriptor:
        os.set_inheritable(descriptor, True)
        argv = fresh_interpreter(module, *options, str(descriptor))
        os.execve(argv[0], argv, dict(environ))  # noqa: S606 - no shell is the point


def _flush_streams() -> None:
    """What is still buffered would be written once more by every child."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()


if __name__ == "__main__":
    main()
