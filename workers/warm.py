"""Warm verifier processes: each is lent to one request at a time, and replaced when it dies, hangs or is old."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from socket import socket

from proofq.policies.agent import JSON
from proofq.workers.wire import Channel, Message, WireError

#: A process that has not said it is ready by then is killed. Generous: a busy host starts Python slowly.
READY_WITHIN_S = 30.0
#: Seconds for which a process that is busy is waited for, before another one is started.
SOON_S = 0.25
#: The same where one of them is coming up.
UP_S = 1.0
#: Seconds within which an answer is at once.
AT_ONCE_S = 0.05


class Unanswered(Exception):
    """No answer came. The message says why, as evidence for "cannot tell"."""


class Outran(Unanswered):
    """The request ran longer than it may; its process was killed."""


class _Died(Exception):
    """The process went away, or broke the rules of the wire, before it answered."""


@dataclass(frozen=True)
class Started:
    """A verifier process as whoever started it hands it over: our end of its socket, and how it is killed.

    `kill` returns at once and may be called for a process that is gone; reaping is its owner's business.
    """

    sock: socket
    kill: Callable[[], None]


class _Warm:
    """One process. Used by one thread at a time."""

    def __init__(self, started: Started) -> None:
        self._started = started
        self._channel = Channel(started.sock)
        self._ready = False
        #: Requests it has answered.
        self.answered = 0

    def ask(self, request: Mapping[str, JSON], timeout_s: float, late: Callable[[], object]) -> dict[str, JSON]:
        """Give the answer. Raises TimeoutError, _Died; of no more use after either."""
        try:
            if not self._ready:
                late()
                self._receive(0, READY_WITHIN_S)
                self._ready = True
            number = self.answered + 1
            self._channel.send({**request, "id": number}, timeout_s=timeout_s)
            answer = self._at_once(number, min(AT_ONCE_S, timeout_s))
            if answer is None:
                late()
                answer = self._receive(number, max(0.0, timeout_s - AT_ONCE_S))
        except (OSError, WireError) as error:
            if isinstance(error, TimeoutError) and self._ready:
                raise
            raise _Died(str(error)) from error
        self.answered += 1
        return answer

    def end(self) -> None:
        """Kill it and close our end. Never raises."""
        with suppress(Exception):
            self._started.kill()
        self._channel.close()

    def _at_once(self, number: int, within_s: float) -> dict[str, JSON] | None:
        if not self._channel.wait(within_s):
            return None
        messages = self._channel.read()
        return _answer(messages[0], number) if messages else None

    def _receive(self, number: int, timeout_s: float) -> dict[str, JSON]:
        for message in self._channel.receive(timeout_s):
            return _answer(message, number)
        raise WireError("it ended before it answered")


def _answer(message: Message, number: int) -> dict[str, JSON]:
    if message.body.get("id") != number:
        raise WireError(f"an answer to {message.body.get('id')!r}, not to {number}")
    return message.body


class WarmPool:
    """Thread-safe. `start` gives a new process; at most `size` live at once (default 4), started when needed.

    More than one, so that a proof that hangs until its deadline does not hold up the others.
    `recycle_after`: answers after which a process is replaced (default 10,000).
    """

    def __init__(self, start: Callable[[], Started], size: int = 4, recycle_after: int = 10_000) -> None:
        self._start = start
        self._size = size
        self._recycle_after = recycle_after
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        #: Threads that wait for a change.
        self._waiting = 0
        # Fields below are guarded by it. Those that live are idle, lent, or about to be started.
        self._idle: list[_Warm] = []
        self._live = 0
        #: Of those that are not idle, how many have answered nobody yet.
        self._fresh = 0
        self._closed = False

    def ask(
        self, request: Mapping[str, JSON], timeout_s: float, late: Callable[[], object] = lambda: None
    ) -> dict[str, JSON]:
        """Give the answer of some process; `timeout_s` counts from when the request is handed to one.

        `late` is called where the answer does not come at once; it may be called more than once.
        A process that died is replaced and the request sent again, until it has cost two new ones their
        lives: then it is the request that kills. Raises Unanswered, and Outran at the deadline.
        """
        warm, deaths = self._take(late), 0
        is_new, is_fresh = warm is None, warm is None or not warm.answered
        try:
            while True:
                if warm is None:
                    warm = self._new()
                try:
                    return warm.ask(request, timeout_s, late)
                except _Died as error:
                    warm.end()
                    warm = None
                    # One that was idle may have been dead before; only a new one's death is the request's doing.
                    deaths += is_new
                    is_new = True
                    if deaths == 2:
                        raise Unanswered(f"the verifier died of it twice: {error}") from error
        except TimeoutError as error:
            warm = _ended(warm)
            raise Outran(f"it ran longer than the {timeout_s:g} s a proof may take") from error
        except BaseException:
            # A request that is no JSON, say: the process may be left with half a frame.
            warm = _ended(warm)
            raise
        finally:
            self._give_back(warm, is_fresh)

    def warm_up(self) -> None:
        """Start one process before anybody asks; returns at once. Where none can be started, who asks is told."""
        with self._lock:
            self._live += 1
            self._fresh += 1
        warm = None
        with suppress(Unanswered):
            warm = self._new()
        self._give_back(warm, is_fresh=True)

    def close(self) -> None:
        """Kill the idle processes, and the busy ones once they have answered."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            self._live -= len(idle)
        for warm in idle:
            warm.end()

    def _take(self, late: Callable[[], object]) -> _Warm | None:
        """One that was idle; None where the caller may start one, which counts as living."""
        with self._lock:
            if self._idle:
                return self._lent()
            waits = bool(self._live) and not self._wait_for(lambda: self._idle, AT_ONCE_S)
        if waits:
            late()
        with self._lock:
            if waits:
                # One that is busy, or comes up, mostly has answered before another one would be up.
                soon_s = UP_S if self._fresh else SOON_S
                self._wait_for(lambda: self._idle, soon_s - AT_ONCE_S)
            self._wait_for(lambda: self._idle or self._live < self._size, None)
            if self._idle:
                return self._lent()
            self._live += 1
            self._fresh += 1
            return None

    def _wait_for(self, come: Callable[[], object], timeout_s: float | None) -> bool:
        self._waiting += 1
        try:
            return bool(self._changed.wait_for(come, timeout_s))
        finally:
            self._waiting -= 1

    def _lent(self) -> _Warm:
        warm = self._idle.pop()
        self._fresh += not warm.answered
        return warm

    def _new(self) -> _Warm:
        try:
            return _Warm(self._start())
        except Exception as error:
            raise Unanswered(f"no verifier could be started: {error}") from error

    def _give_back(self, warm: _Warm | None, is_fresh: bool) -> None:
        """One that has answered; None for one that lives no more. `is_fresh`: it had answered nobody before."""
        with self._lock:
            self._fresh -= is_fresh
            keep = warm is not None and warm.answered < self._recycle_after and not self._closed
            if warm is not None and keep:
                self._idle.append(warm)
                if self._waiting:
                    self._changed.notify()
            else:
                self._live -= 1
                # Of those that wait some wait for one that is idle, and would let the room go by.
                self._changed.notify_all()
        if not keep:
            _ended(warm)


def _ended(warm: _Warm | None) -> _Warm | None:
    """None, once it is no more."""
    if warm is not None:
        warm.end()
    return None
