"""The forkserver's loop: it forks, watches and ends the first processes of attempts.

Every orphan below this process becomes its child (it is a subreaper), and a child it has not forked itself belongs
to an attempt that has ended: such a child is killed with all below it, before the end is reported.

    in    spawn (+ descriptors), kill, shutdown, pulse
    out   spawned, exited, pulse
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from proofq.workers import child as child_process
from proofq.workers import killing, proctree, reused_child
from proofq.workers.fork import Stage, execute, fork, memory_file
from proofq.workers.guard import OWNER_VARIABLE, PULSE_S, Watchdog
from proofq.workers.interpreter import fresh_interpreter
from proofq.workers.reuse import Pool
from proofq.workers.standby import Standby

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proofq.workers.clock import Clock
    from proofq.workers.preload import Agents, Preload
    from proofq.workers.wire import Channel, Message

log = logging.getLogger(__name__)

#: An end is reported after so many seconds even if something it left running cannot be killed.
_ORPHANS_WITHIN_S = 3.0


@dataclass(slots=True)
class Child:
    """A process this one has forked, until its end is reported. Times are of CLOCK_BOOTTIME, in seconds.

    `sid` is 0 while it waits for an attempt; `done`: it was killed after its attempt had ended well.
    """

    sid: int
    pid: int
    done: bool = False
    killed_by: str = ""
    kill_at: float | None = None
    status: int = 0
    ended_at: float = 0.0
    usage: dict[str, float] = field(default_factory=dict)


class ForkLoop:
    """Starts, watches and ends children. `owner` is the marker they carry.

    `agents` is None where functions must run in fresh interpreters, which load them by `preload`; `standby` is how many
    children it keeps forked ahead.
    """

    def __init__(
        self, channel: Channel, owner: str, preload: Preload, agents: Agents | None, clock: Clock, standby: int
    ) -> None:
        self._channel = channel
        self._owner = owner
        self._preload = preload
        self._agents = agents
        self._clock = clock
        self._watchdog = Watchdog()
        self._children: dict[int, Child] = {}
        self._reused = Pool()
        self._standby = Standby(standby, agents)
        self._ended: list[Child] = []
        self._wake, wake_write = socket.socketpair()
        self._wake.setblocking(False)
        wake_write.setblocking(False)
        self._wake_write = wake_write
        self._next_tick = clock.boottime() + PULSE_S
        #: Why the loop ended: "shutdown", "eof", "silent".
        self._over = ""
        self.left: list[int] = []

    def run(self) -> str:
        """Serve until the supervisor says so, is gone or is silent; returns which, with nothing left below but what
        would not die, `left`."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        selector = selectors.DefaultSelector()
        selector.register(self._channel, selectors.EVENT_READ)
        selector.register(self._wake, selectors.EVENT_READ)
        try:
            while not self._over:
                ready = selector.select(0 if self._standby.short else self._pause())
                for key, _ in ready:
                    self._ready(key.fileobj)
                self._look_after()
                if not ready and self._standby.short:
                    self._fork_ahead()
                self._channel.flush()
        except Exception:
            # A guard must not leave by the back door: what is below it would live on.
            log.exception("forkserver_error")
            self._over = "error"
        finally:
            selector.close()
            within_s = killing.KILL_WITHIN_S if self._over == "shutdown" else killing.GONE_WITHIN_S
            self.left = killing.kill_descendants(within_s=within_s, clock=self._clock)
            if self.left:
                log.error("survivors", extra={"pids": self.left})
        return self._over

    # --- the loop's parts ---

    def _pause(self) -> float:
        """Seconds until something is due."""
        due = [self._next_tick, *(one.kill_at for one in self._children.values() if one.kill_at is not None)]
        return max(0.0, min(due) - self._clock.boottime())

    def _ready(self, source: object) -> None:
        if source is self._wake:
            with suppress(BlockingIOError):
                while self._wake.recv(4096):
                    pass
            return
        for message in self._channel.read():
            self._watchdog.heard()
            self._take(message)
        if self._channel.eof and not self._over:
            self._over = "eof"

    def _take(self, message: Message) -> None:
        body = message.body
        try:
            if body["type"] == "spawn":
                self._spawn(body, message.fds)
            elif body["type"] == "kill":
                self._kill(body["sid"], body["reason"], body["grace_s"])
            elif body["type"] == "shutdown":
                self._over = "shutdown"
        finally:
            for descriptor in message.fds:
                os.close(descriptor)

    def _look_after(self) -> None:
        """Reap, kill what has outlived its grace or its attempt, report the ends, and once a second tick."""
        now = self._clock.boottime()
        if self._over:
            return
        self._reap(now)
        for one in list(self._children.values()):
            if one.kill_at is not None and one.kill_at <= now:
                one.kill_at = now + 1.0
                killing.freeze_and_kill(partial(proctree.tree, one.pid))
        ticked = now >= self._next_tick
        if self._ended or ticked:
            self._report_ends(now)
        if ticked:
            self._next_tick = now + PULSE_S
            self._reused.end_idle(now)
            self._channel.put({"type": "pulse"})
            if self._watchdog.tick():
                self._over = "silent"

    # --- starting ---

    def _spawn(self, body: Mapping[str, Any], fds: list[int]) -> None:
        body = {**body, "env": {**body["env"], OWNER_VARIABLE: self._owner}}
        try:
            pid = (self._reused if "reuse" in body else self._standby).hand_over(body, fds)
            pid = pid or self._fork_on_stage(body, fds)
        except OSError as error:
            self._say("spawned", body["sid"], pid=None, errno=error.errno or 0)
            return
        process = proctree.read(pid)
        self._children[pid] = Child(body["sid"], pid)
        # A zombie still shows its start time, and only this process can reap it.
        self._say("spawned", body["sid"], pid=pid, start_ticks=process.start_ticks if process else 0)

    def _fork_ahead(self) -> None:
        try:
            while self._standby.short:
                pid = self._standby.fill()
                self._children[pid] = Child(0, pid)
        except OSError:
            self._standby.give_up()

    def _fork_on_stage(self, body: Mapping[str, Any], fds: list[int]) -> int:
        private = {body["report"]} if body["payload"] is None else {body["report"], body["payload"]}
        targets = dict(zip(body["targets"], fds, strict=True))
        stage = Stage(body["cwd"], targets, body["report"], frozenset(private), body["ticks"])
        if "reuse" in body and self._agents is not None:
            return self._fork_reused(stage, body, self._agents)
        return self._fork(stage, body, body["env"])

    def _fork_reused(self, stage: Stage, body: Mapping[str, Any], agents: Agents) -> int:
        """A function in a child that may be given more; the socket for that is the last of its descriptors."""
        control = max(stage.fds) + 1
        ours, theirs = socket.socketpair()
        with theirs:
            fds = {**stage.fds, control: theirs.fileno()}
            stage = replace(stage, fds=fds, private=stage.private | {control})
            try:
                pid = fork(stage, lambda: reused_child.serve(body, agents, control))
            except OSError:
                ours.close()
                raise
        self._reused.admit(pid, body["reuse"], ours)
        return pid

    def _fork(self, stage: Stage, body: Mapping[str, Any], env: Mapping[str, str]) -> int:
        if body["kind"] == "command":
            return fork(stage, lambda: execute(body["argv"], env))
        if body["kind"] == "interpreter":
            return fork(stage, lambda: execute([*fresh_interpreter(body["argv"][0]), *body["argv"][1:]], env))
        agents = self._agents
        if agents is None:
            return self._fork_fresh(stage, body, env)
        return fork(stage, lambda: child_process.run(body["runner"], agents, env, body["payload"], stage.report))

    def _fork_fresh(self, stage: Stage, body: Mapping[str, Any], env: Mapping[str, str]) -> int:
        """A function in a new interpreter, which loads the agents by itself."""
        setup = {"runner": body["runner"], "env": env, "preload": self._preload.to_dict()}
        number = max(stage.fds) + 1
        with memory_file(json.dumps(setup).encode("ascii")) as setup_fd:
            fds = {**stage.fds, number: setup_fd}
            argv = fresh_interpreter("proofq.workers.child", str(number), str(body["payload"]), str(stage.report))
            # The pipes must outlive this exec; the interpreter closes them to its own children by itself.
            return fork(replace(stage, fds=fds, private=frozenset()), lambda: execute(argv, env))

    # --- ending ---

    def _kill(self, sid: int, reason: str, grace_s: float) -> None:
        """TERM to the whole tree of an attempt now, KILL once the grace is over; the first reason is kept."""
        self._reap(self._clock.boottime())
        one = next((one for one in self._children.values() if one.sid == sid), None)
        if one is None:
            return
        one.killed_by = one.killed_by or reason
        kill_at = self._clock.boottime() + grace_s
        one.kill_at = kill_at if one.kill_at is None else min(kill_at, one.kill_at)
        if grace_s > 0:
            killing.terminate(proctree.tree(one.pid))

    def _reap(self, now: float) -> None:
        """Collect every child that ended, forked here or adopted, and see who of the reused has stopped."""
        options = os.WNOHANG | os.WUNTRACED if self._reused else os.WNOHANG
        while True:
            try:
                pid, status, usage = os.wait4(-1, options)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if os.WIFSTOPPED(status):
                self._stopped(pid, usage, now)
                continue
            one = self._children.pop(pid, None)
            if one is not None:
                one.usage = self._reused.spent(pid, usage)
                self._reused.forget(pid)
                self._standby.forget(pid)
            if one is not None and one.sid:
                one.status, one.ended_at = 0 if one.done else status, now
                self._ended.append(one)

    def _stopped(self, pid: int, usage: Any, now: float) -> None:
        """A child stands still: at the end of its attempt if it says so, else for reasons of its own."""
        one = self._children.get(pid)
        if one is None or not one.sid or one.done or not self._reused.says_done(pid, one.sid):
            return
        if one.killed_by or not self._reused.keeps(pid, now):
            # Its end is reported with its death, once all that it leaves behind is dead, too.
            one.done = True
            killing.send(pid, signal.SIGKILL)
            return
        self._children[pid] = Child(0, pid)
        one.ended_at, one.usage = now, self._reused.spent(pid, usage)
        self._ended.append(one)

    def _report_ends(self, now: float) -> None:
        """Say who ended, once nothing that an ended attempt left running is alive any more."""
        orphans = self._orphans()
        if orphans:
            killing.freeze_and_kill(self._orphans)
            self._reap(now)
            orphans = self._orphans()
        waiting = []
        for one in self._ended:
            if orphans and now - one.ended_at < _ORPHANS_WITHIN_S:
                waiting.append(one)
            else:
                self._report_end(one, [orphan.pid for orphan in orphans])
        self._ended = waiting

    def _report_end(self, one: Child, survivors: list[int]) -> None:
        code = os.waitstatus_to_exitcode(one.status)
        self._say(
            "exited",
            one.sid,
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            killed_by=one.killed_by,
            usage=one.usage,
            survivors=survivors,
        )

    def _orphans(self) -> list[proctree.Process]:
        """What is below this process and below none of its own children."""
        below = proctree.own_children()
        # Whoever lost its parent is a child of this process: one small file tells that there is none, not all of /proc.
        if below is not None and below <= self._children.keys():
            return []
        found = proctree.descendants(os.getpid(), exclude=self._children.keys())
        return [one for one in found if not one.dead]

    def _say(self, kind: str, sid: int, **fields: Any) -> None:
        self._channel.put({"type": kind, "sid": sid, **fields})
