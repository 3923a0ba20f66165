"""The supervisor's side of the forkserver: starting processes, stopping them, and noticing the guard's death.

Slots' threads call `spawn` and wait on what they get; one thread reads the forkserver's messages, another one
(output's pump) all pipes. Nothing is ever forked from this process but the forkserver itself, once.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import selectors
import socket
import subprocess
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from proofq.workers import killing, proctree
from proofq.workers.child import RUN_AGENT
from proofq.workers.clock import Clock, SystemClock
from proofq.workers.equipment import open_all, spawn_message
from proofq.workers.errors import Error
from proofq.workers.guard import OWNER_VARIABLE, PULSE_S, Watchdog
from proofq.workers.interpreter import fresh_interpreter
from proofq.workers.output import CAP_BYTES, Pump, Streams
from proofq.workers.running import GUARD_LOST, Running, Usage
from proofq.workers.wire import Channel, Message, WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from proofq.workers.answering import Reply
    from proofq.workers.file_baseline import Tick
    from proofq.workers.forkserver import Config

log = logging.getLogger(__name__)

#: Seconds the forkserver may take to load the agents, to answer a spawn, and to leave when asked.
READY_WITHIN_S, SPAWN_WITHIN_S, CLOSE_WITHIN_S = 120.0, 10.0, 5.0

#: Variables that the forkserver, and so every agent, does not get to see: where our store is.
_NOT_FOR_AGENTS = ("PROOFQ_REDIS_URL", "REDIS_URL")

Lost = Literal["forkserver_died", "forkserver_silent", "launcher_died"]


class SpawnFailed(Error):
    """A process could not be started. `errno` is the kernel's answer, 0 when there was none in time."""

    kind = "spawn_failed"

    def __init__(self, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


class AgentsNotLoaded(Error):
    """The project's agents cannot be imported; what Python said of it is on stderr."""

    kind = "agents_not_loaded"
    exit_code = 2


@dataclass(frozen=True)
class SpawnRequest:
    """One process to start.

    kind "function": `runner` ("module:function") is called in a fork with `payload`; see `workers.child`.
    kind "command": `argv` is executed, its program looked up in the PATH of `env`.
    kind "interpreter": a fresh Python runs the module `argv[0]` with the other arguments.
    """

    kind: Literal["function", "command", "interpreter"]
    #: All of the child's environment; the owner's marker is added.
    env: Mapping[str, str]
    #: Must exist.
    cwd: str
    argv: Sequence[str] = ()
    runner: str = RUN_AGENT
    payload: Mapping[str, Any] | None = None
    #: What it reads; None is /dev/null.
    stdin: bytes | None = None
    #: Files the output goes to, made anew; None keeps the tail in memory only.
    stdout: Path | None = None
    stderr: Path | None = None
    #: Bytes of each stream kept on disk, the newest.
    output_cap_bytes: int = CAP_BYTES
    #: Have what is kept of stdout ready after the end, too, all of it where it fits under the cap.
    keep_stdout: bool = False
    #: Texts that are hidden in what it prints, wherever that is kept.
    secrets: Collection[str] = ()
    #: Called in the pump's thread with stdout as it comes; must neither wait nor raise.
    on_stdout: Callable[[bytes], None] | None = None
    #: Of a function: given each question it asks, and how to answer, in the pump's thread; must neither wait nor raise.
    on_ask: Callable[[Reply, Any], None] | None = None
    #: What must have passed before anything of it runs; see `file_baseline.await_tick`.
    ticks: Sequence[Tick] = ()
    #: Of a function: a name for those that may follow one another in a process, and how many of them; see `reuse`.
    reuse: tuple[str, int] | None = None
    #: More descriptors for the child: its number, 3 or above without a gap, to ours, which stay open here.
    fds: Mapping[int, int] = field(default_factory=dict)


class Begun(NamedTuple):
    """A process that the forkserver was asked for, and what it says to that."""

    running: Running
    answer: Answer


class Spawner:
    """One forkserver and all that runs below it. Thread-safe.

    `on_guard_lost` is called once, in a thread of the spawner's, when the forkserver died or fell silent or the
    launcher died (`lifeline`, the reading end of its pipe, has closed): everything below this process is dead by
    then and every `Running` has ended as killed by "guard". `spare` gives pids below this process that must
    survive that (an embedded Redis).
    """

    def __init__(
        self,
        config: Config,
        on_guard_lost: Callable[[Lost], None],
        *,
        lifeline: int | None = None,
        spare: Callable[[], Iterable[int]] = tuple,
        clock: Clock | None = None,
    ) -> None:
        self._config = config
        self._on_guard_lost = on_guard_lost
        self._lifeline = lifeline
        self._spare = spare
        self._clock = clock or SystemClock()
        self._sids = itertools.count(1)
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._running: dict[int, tuple[Running, Streams]] = {}
        self._answers: dict[int, Answer] = {}
        self._closing = False
        self._devnull = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._lost: Lost | None = None
        #: Modules that left a thread while the agents were loaded; functions run in fresh interpreters then.
        self.threads: tuple[str, ...] = ()
        self.agents: tuple[str, ...] = ()

    # --- life ---

    def start(self, timeout_s: float = READY_WITHIN_S) -> None:
        """Start the forkserver and wait until the agents are loaded.

        Raises AgentsNotLoaded when they cannot be, SpawnFailed when the forkserver does not come up in time.
        """
        proctree.become_subreaper()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = self._start_forkserver(theirs)
        self._channel = Channel(ours)
        self._pump = Pump(self._clock)
        try:
            self._channel.send({"type": "config", **self._config.to_dict()}, timeout_s=timeout_s)
            self._await_ready(timeout_s)
        except BaseException:
            self._process.kill()
            self._process.wait()
            self._pump.close()
            self._channel.close()
            raise
        self._thread = threading.Thread(target=self._watch, name="proofq-guard", daemon=True)
        self._thread.start()

    @property
    def forkserver(self) -> proctree.ProcessId:
        """Who the forkserver is; raises ProcessLookupError when it is gone."""
        return proctree.identity(self._process.pid)

    @property
    def usable(self) -> bool:
        """Whether processes can still be started."""
        return self._lost is None and not self._closing

    def close(self) -> None:
        """End everything below this process except `spare`; the callback is not called. Also after a loss, and again.

        Whoever started one closes it before leaving: a process that ends while the guard's thread has only stopped,
        and not yet killed, what is below would leave it standing there for good.
        """
        with self._lock:
            closed, self._closing = self._closing, True
        if closed:
            return
        with suppress(OSError, WireError):
            self._send({"type": "shutdown"})
        self._thread.join(CLOSE_WITHIN_S)
        if self._thread.is_alive():
            self._process.kill()
            self._thread.join()
        self._pump.close()
        self._channel.close()
        os.close(self._devnull)

    # --- starting ---

    def spawn(self, request: SpawnRequest) -> Running:
        """Start a process. Raises SpawnFailed, with nothing left running, when that is not possible.

        That it came up is another matter: see `Running.wait_started`.
        """
        return self.confirmed(self.begin(request))

    def begin(self, request: SpawnRequest) -> Begun:
        """Have a process started, without waiting for the answer: `confirmed` says whether it was.

        Raises SpawnFailed where it is known at once that it cannot be.
        """
        sid = next(self._sids)
        with ExitStack() as passed, ExitStack() as undo:
            try:
                streams, reading, given = open_all(request, self._devnull, passed, undo)
            except OSError as error:
                raise SpawnFailed(f"No process can be started: {error}.", error.errno or 0) from error
            running, answer = Running(sid, streams, self._kill), Answer()
            streams.on_report = running.reported
            if request.on_ask is not None:
                streams.report.on_ask = partial(request.on_ask, partial(self._reply, streams))
            with self._lock:
                if self._lost or self._closing:
                    raise SpawnFailed("No process can be started: the forkserver is gone.")
                self._running[sid], self._answers[sid] = (running, streams), answer
            self._pump.add(streams, reading)
            undo.pop_all()
            try:
                self._send(spawn_message(sid, request, given), list(given.values()))
            except (OSError, WireError, TypeError, ValueError) as error:
                self._give_up(running)
                raise SpawnFailed(f"The forkserver could not be asked: {error}.") from error
        return Begun(running, answer)

    def confirmed(self, begun: Begun) -> Running:
        """The process that was begun. Raises SpawnFailed, with nothing left running, where there is none."""
        running, answer = begun
        if not answer.given.wait(SPAWN_WITHIN_S) or answer.pid is None:
            self._give_up(running)
            raise SpawnFailed(f"No process can be started: {answer.reason}.", answer.errno)
        running.pid, running.start_ticks = answer.pid, answer.start_ticks
        return running

    def _reply(self, streams: Streams, answer: Mapping[str, Any]) -> None:
        self._pump.tell(streams, json.dumps(answer).encode("ascii") + b"\n")

    def _give_up(self, running: Running) -> None:
        """Nobody will wait for it; should it still come up, it is killed."""
        with self._lock:
            self._answers.pop(running.sid, None)
            _, streams = self._running.pop(running.sid, (None, None))
        self._kill(running.sid, "start_unconfirmed", 0.0)
        if streams is not None:
            self._pump.finish(streams, lambda: None)

    def _kill(self, sid: int, reason: str, grace_s: float) -> None:
        with suppress(OSError, WireError):
            self._send({"type": "kill", "sid": sid, "reason": reason, "grace_s": grace_s})

    def _send(self, body: dict[str, Any], fds: Sequence[int] = ()) -> None:
        with self._sending:
            self._channel.send(body, fds, timeout_s=SPAWN_WITHIN_S)

    # --- watching ---

    def _watch(self) -> None:
        """The guard's thread: messages, pulses, and the end of either neighbour."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            if self._lifeline is not None:
                selector.register(self._lifeline, selectors.EVENT_READ)
            why = self._until_lost(selector)
        self._end_all(why)
        if not self._closing:
            log.error("guard_lost", extra={"why": why})
            self._on_guard_lost(why)

    def _until_lost(self, selector: selectors.BaseSelector) -> Lost:
        watchdog, next_tick = Watchdog(), self._clock.boottime() + PULSE_S
        while True:
            for key, _ in selector.select(max(0.0, next_tick - self._clock.boottime())):
                if key.fd == self._lifeline:
                    return "launcher_died"
                try:
                    messages = self._channel.read()
                except WireError:
                    log.exception("forkserver_error")
                    return "forkserver_died"
                for message in messages:
                    watchdog.heard()
                    self._take(message)
                if self._channel.eof:
                    return "forkserver_died"
            if self._clock.boottime() >= next_tick:
                next_tick = self._clock.boottime() + PULSE_S
                self._pulse()
                if watchdog.tick():
                    return "forkserver_silent"

    def _pulse(self) -> None:
        """Never waits: a message on its way, or a pipe full of them, is no reason to stop watching."""
        if self._sending.acquire(blocking=False):
            try:
                with suppress(OSError):
                    self._channel.send({"type": "pulse"}, timeout_s=0)
            finally:
                self._sending.release()

    def _take(self, message: Message) -> None:
        body = message.body
        if body["type"] == "spawned":
            with self._lock:
                answer = self._answers.pop(body["sid"], None)
            if answer is not None:
                answer.give(body)
        elif body["type"] == "exited":
            with self._lock:
                running, streams = self._running.pop(body["sid"], (None, None))
            if running is not None and streams is not None:
                usage = Usage(**body["usage"])
                end = (body["exit_code"], body["signal"], body["killed_by"], usage, body["survivors"])
                self._pump.finish(streams, partial(running.end, *end))

    def _end_all(self, why: Lost) -> None:
        """Kill what is left below this process, and tell everybody who waits."""
        with self._lock:
            self._lost = why
            running, answers = list(self._running.values()), list(self._answers.values())
            self._running.clear()
            self._answers.clear()
        within_s = killing.KILL_WITHIN_S if self._closing else killing.GONE_WITHIN_S
        left = killing.kill_descendants(exclude=set(self._spare()), within_s=within_s, clock=self._clock)
        if left:
            log.error("survivors", extra={"pids": left})
        self._process.wait()
        reason = "shutdown" if self._closing else GUARD_LOST
        for one, streams in running:
            with suppress(ChildProcessError):
                os.waitpid(one.pid, os.WNOHANG)
            self._pump.finish(streams, partial(one.end, None, None, reason, Usage(), left))
        for answer in answers:
            answer.given.set()
        for one, _ in running:
            one.wait_ended(CLOSE_WITHIN_S)

    # --- the forkserver itself ---

    def _start_forkserver(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        environ = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_AGENTS}
        # What agents' modules print while they are loaded must not end up in this process's stdout.
        return subprocess.Popen(
            fresh_interpreter("proofq.workers.forkserver", "--fd", str(theirs.fileno())),
            env={**environ, OWNER_VARIABLE: self._config.owner},
            stdin=subprocess.DEVNULL,
            stdout=2,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )

    def _await_ready(self, timeout_s: float) -> None:
        try:
            said = next(self._channel.receive(timeout_s), Message({"type": "nothing"}, [])).body
        except (TimeoutError, WireError) as error:
            raise SpawnFailed(f"The forkserver did not come up: {error}.") from error
        if said["type"] == "refused":
            raise AgentsNotLoaded(f"The agents' modules cannot be imported: {said['reason']}")
        if said["type"] != "ready":
            raise SpawnFailed("The forkserver died while it loaded the agents; see stderr.")
        self.threads, self.agents = tuple(said["threads"]), tuple(said["agents"])


class Answer:
    """What the forkserver says to one spawn."""

    def __init__(self) -> None:
        self.given = threading.Event()
        self.pid: int | None = None
        self.start_ticks = 0
        self.errno = 0
        self.reason = "the forkserver did not answer"

    def give(self, body: Mapping[str, Any]) -> None:
        self.pid = body["pid"]
        if self.pid is None:
            self.errno = body["errno"]
            self.reason = os.strerror(self.errno)
        else:
            self.start_ticks = body["start_ticks"]
        self.given.set()
