"""One host as its supervisor sees it: the process that the attempts of one async agent share."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from proofq.policies import loop_watch, sharing
from proofq.policies.sharing import Fate, HostEnd
from proofq.workers import proctree
from proofq.workers.async_page import STACK_SIGNAL, HostPage
from proofq.workers.async_running import AsyncRunning
from proofq.workers.clock import Clock
from proofq.workers.host_folder import HostFolder
from proofq.workers.running import GRACE_S, GUARD_LOST, Running
from proofq.workers.wire import Channel, WireError

log = logging.getLogger(__name__)

#: Seconds between two looks at a host.
LOOK_S: Final = 0.25
#: Seconds that a message to a host may wait for room.
SEND_WITHIN_S: Final = 10.0
#: Looks at the page, 20 ms apart, for a stack that was asked for.
_STACK_LOOKS: Final = 25
#: Reasons of a process's end that are those of everything below its supervisor.
_OURS: Final = frozenset({GUARD_LOST, "shutdown"})


class HostGone(Exception):
    """The host takes no more attempts: it has ended, or is about to."""


@dataclass(frozen=True)
class Parts:
    """What a host is made of: its process, our end of its socket, the page it writes, and its folder."""

    process: Running
    channel: Channel
    page: HostPage
    folder: HostFolder


class AsyncHost:
    """Any thread may `run` an attempt or stop one; `read` and `look` are one thread's, which watches all hosts.

    `single`: it is for one attempt, and ended after it.
    """

    def __init__(self, parts: Parts, clock: Clock, blocked_s: float, *, single: bool = False) -> None:
        self.pid, self.start_ticks = parts.process.pid, parts.process.start_ticks
        self._process = parts.process
        self._channel = parts.channel
        self._page = parts.page
        self._folder = parts.folder
        self._clock = clock
        self._blocked_s = blocked_s
        self._single = single
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._attempts: dict[int, AsyncRunning] = {}
        self._grace_s: dict[int, float] = {}
        self._end: HostEnd | None = None
        self._broken = False
        self._watch = loop_watch.begin(clock.boottime())

    def fileno(self) -> int:
        """Of its socket, for a selector."""
        return self._channel.fileno()

    @property
    def usable(self) -> bool:
        """Whether it takes attempts."""
        return self._end is None and self._process.ended is None

    # --- from slots ---

    def run(self, attempt: AsyncRunning, told: Mapping[str, Any]) -> None:
        """Begin an attempt; `told` is what `child.run_agent` is given. Raises HostGone, WireError for a `told` that is
        too long."""
        try:
            # Numbers arrive in their order.
            with self._sending:
                number = self._enter(attempt)
                self._channel.send({"number": number, "run": told}, timeout_s=SEND_WITHIN_S)
        except WireError:
            self._forget(attempt.number)
            raise
        except OSError:
            # It may have been told half of it: what becomes of that ends with the process.
            self._replace(HostEnd("died"), 0.0)

    def _enter(self, attempt: AsyncRunning) -> int:
        with self._lock:
            if not self.usable:
                raise HostGone
            number = next(self._numbers)
            has_begun = partial(self._has_begun, number)
            attempt.attach(number, self.pid, self.start_ticks, self._cancel, has_begun, self._clock.boottime())
            self._attempts[number] = attempt
        return number

    def _has_begun(self, number: int) -> bool:
        with suppress(ValueError):  # the page is closed: its process has ended, and who asks is told so
            return self._page.begun >= number
        return False

    def answer(self, attempt: AsyncRunning, answer: Mapping[str, Any]) -> None:
        """Answer what an attempt has asked; of no effect once it has ended."""
        with self._lock:
            if attempt.number not in self._attempts:
                return
        try:
            self._send({"number": attempt.number, "answer": dict(answer)})
        except (OSError, WireError):
            # As in `run`: it may have been told half of it.
            self._replace(HostEnd("died"), 0.0)

    def _cancel(self, attempt: AsyncRunning, reason: str, grace_s: float) -> None:
        with self._lock:
            if attempt.stopped or attempt.number not in self._attempts:
                return
            attempt.stopped = reason
            # Until the host says that it was delivered: a blocked loop is the blocker's doing, not the attempt's.
            attempt.kill_at = self._clock.boottime() + self._blocked_s + 2 * LOOK_S + grace_s
            self._grace_s[attempt.number] = grace_s
        with suppress(OSError, WireError):
            self._send({"number": attempt.number, "cancel": True})

    def _send(self, body: dict[str, Any]) -> None:
        with self._sending:
            self._channel.send(body, timeout_s=SEND_WITHIN_S)

    # --- from the thread that watches ---

    def read(self) -> None:
        """Take what the host has said."""
        try:
            for message in self._channel.read():
                self._take(message.body)
        except (WireError, KeyError, TypeError, ValueError, AttributeError) as problem:
            # Agents' code has that descriptor, too.
            log.warning("async_host_broken", extra={"pid": self.pid, "problem": str(problem)})
            self._broken = True
            self._replace(HostEnd("died"), 0.0)
            return
        if self._channel.eof:
            self._replace(HostEnd("died"), 0.0)

    @property
    def silent(self) -> bool:
        """Whether nothing more can be read from it."""
        return self._channel.eof or self._broken

    def look(self) -> bool:
        """Whether it has ended, with everybody in it told so; else see that its loop turns and cancels are heeded."""
        if self._process.ended is not None:
            self._finish()
            return True
        now_s = self._clock.boottime()
        with self._lock:
            attempts = list(self._attempts.values())
        late = [one for one in attempts if one.kill_at is not None and one.kill_at <= now_s]
        idle = not attempts
        for attempt in attempts:
            attempt.look()
        self._watch = (
            loop_watch.begin(now_s) if idle else loop_watch.look(self._watch, self._page.read(), now_s, LOOK_S)
        )
        if loop_watch.blocked_s(self._watch) >= self._blocked_s:
            self._end_blocked(self._watch.page.running)
        elif late:
            self._replace(HostEnd("outlived", late[0].number), GRACE_S)
        return False

    def _take(self, body: Mapping[str, Any]) -> None:
        now_s = self._clock.boottime()
        with self._lock:
            attempt = self._attempts.get(body["number"])
        if attempt is None:
            return
        attempt.take(body, now_s)
        if body.get("cancelling") and attempt.kill_at is not None:
            attempt.kill_at = min(attempt.kill_at, now_s + self._grace_s.get(attempt.number, GRACE_S))
        if not body.get("ended"):
            return
        if body.get("left"):
            log.warning("async_tasks_left", extra={"pid": self.pid, "left": body["left"]})
            self._replace(HostEnd("outlived", attempt.number), GRACE_S)
            return
        self._forget(attempt.number)
        attempt.end(Fate(attempt.stopped), 0, None)
        if self._single:
            self._process.kill("done", 0.0)

    def _forget(self, number: int) -> None:
        with self._lock:
            self._attempts.pop(number, None)
            self._grace_s.pop(number, None)

    # --- its end ---

    def _end_blocked(self, culprit: int) -> None:
        """Its loop stands still: ask where, and make an end."""
        if self._end is not None:
            return
        stood_s = loop_watch.blocked_s(self._watch)
        detail = f"for {stood_s:.0f} s{sharing.place(self._stack())}"
        log.warning("async_loop_blocked", extra={"pid": self.pid, "detail": detail})
        self._replace(HostEnd("blocked", culprit, detail), 0.0)

    def _stack(self) -> str:
        process = proctree.read(self.pid)
        if process is None or process.start_ticks != self.start_ticks:
            return ""
        with suppress(OSError):
            os.kill(self.pid, STACK_SIGNAL)
        for _ in range(_STACK_LOOKS):
            self._clock.sleep(0.02)
            if self._page.stack():
                # It is written line by line.
                self._clock.sleep(0.02)
                break
        return self._page.stack()

    def _replace(self, end: HostEnd, grace_s: float) -> None:
        """Take no more attempts and have it killed; those in it end once it is dead."""
        with self._lock:
            if self._end is not None:
                return
            self._end = end
        self._process.kill(end.why, grace_s)

    def _finish(self) -> None:
        ended = self._process.ended
        if ended is None:
            return
        with suppress(WireError, KeyError, TypeError, ValueError, AttributeError):
            # What had ended before its process died did so by itself.
            for message in self._channel.read():
                self._take(message.body)
        with self._lock:
            end = self._end = self._end or HostEnd("died")
            attempts, self._attempts = self._attempts, {}
        if ended.killed_by in _OURS:
            end = HostEnd("ours", detail=ended.killed_by)
        alone = len(attempts) == 1
        for number, attempt in attempts.items():
            attempt.look()
            fate = sharing.fate(end, number, attempt.stopped, alone)
            last_words = self._process.stderr_tail() if alone else b""
            attempt.end(fate, ended.exit_code, ended.signal, last_words)
        self._channel.close()
        self._page.close()
        self._folder.leave()
