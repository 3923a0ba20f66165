"""Calls of a provider behind its gate: the attempt's part of `ctx.call`, as a breaker of pybreaker's.

States, listeners and exceptions are pybreaker's; whether a call may be made is asked of the gate in Redis, through the
supervisor, since pybreaker lets everybody through at once when it tries again. No lock is held across a call.
"""

from __future__ import annotations

import inspect
import itertools
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

import pybreaker

from proofq.policies import answers, backoff, breaker, gate
from proofq.policies.classify import classify
from proofq.policies.gate import Admission, Told
from proofq.workers.clock import SystemClock
from proofq.workers.doing import Doing, later, now
from proofq.workers.errors import BadInput, ErrorInside, LeaseLost, RedisUnavailable

#: Seconds within which the gate must answer; after that the call is made without having been let through.
ASK_WITHIN_S: Final = 5.0
#: Longest wait at a gate, in seconds, that is waited out in the attempt; for a longer one the attempt ends, uncounted.
PAUSE_S: Final = 2.0
#: Seconds between two looks at a gate that another call of the attempt tries: the first, and the most.
OWN_S, MAX_OWN_S = 0.05, 1.0

#: What pybreaker calls each state of a gate.
STATES: Final[Mapping[str, str]] = {gate.OPEN: pybreaker.STATE_CLOSED, gate.PROBING: pybreaker.STATE_HALF_OPEN}


class GateClosed(pybreaker.CircuitBreakerError):
    """The gate of the provider lets no call through; nobody was asked. `retry_after` are the seconds until it may, None
    where no time opens it. An attempt that ends by it is not counted, and its task waits."""

    def __init__(self, provider: str, state: str, retry_after: float | None, reason: str) -> None:
        when = "" if retry_after is None else f" for {retry_after:.1f} s"
        super().__init__(f"the gate of {provider} is {state}{when}: {reason}")
        self.retry_after = retry_after


class GateStorage(pybreaker.CircuitBreakerStorage):
    """What was last heard of the gate. Its truth is in Redis, where nothing in this process can move it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.heard = pybreaker.STATE_CLOSED

    @property
    def state(self) -> str:
        return self.heard

    @state.setter
    def state(self, state: str) -> None:
        """Only ends of calls and operators move a gate."""

    @property
    def counter(self) -> int:
        """Failures are counted for the whole fleet, beside the gate."""
        return 0

    @property
    def success_counter(self) -> int:
        return 0

    @property
    def opened_at(self) -> datetime | None:
        return None

    @opened_at.setter
    def opened_at(self, when: datetime) -> None:
        """Redis knows."""


class GateBreaker(pybreaker.CircuitBreaker):
    """The gate of one provider, as one attempt sees it. Any thread, any task may call.

    `awaits`: it is an async attempt's, so that `call` gives something to await. Raises GateClosed, whatever the
    function raises, ErrorInside where its answer of status 200 is an error that shuts gates, and LeaseLost where the
    attempt is being stopped.
    """

    def __init__(self, provider: str, ask: Callable[[str, dict[str, Any], float], Any], *, awaits: bool) -> None:
        self._storage = GateStorage(provider)
        super().__init__(name=provider, state_storage=self._storage)
        self._ask = ask
        self._awaits = awaits
        self._numbers = itertools.count(1)

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What `func(*args, **kwargs)` gives, if the gate lets it through."""
        if self._awaits:
            return self.call_async(func, *args, **kwargs)
        if inspect.iscoroutinefunction(func):
            raise BadInput("ctx.call of a def agent calls functions, and was given an async def; nothing was called.")
        return now(self._calling(partial(func, *args, **kwargs), func, args, kwargs))

    def call_async(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The same, to be awaited; `func` may be either kind of function."""
        return later(self._calling(partial(func, *args, **kwargs), func, args, kwargs))

    def open(self) -> bool:
        """Not from here: raises BadInput."""
        raise BadInput(f"The gate of {self.name} is the whole fleet's: `proofq gate isolate {self.name}` closes it.")

    def close(self) -> None:
        """Not from here: raises BadInput."""
        raise BadInput(f"The gate of {self.name} is the whole fleet's: `proofq gate open {self.name}` opens it.")

    half_open = close

    # --- one call --------------------------------------------------------------------------------------------------

    def _calling(self, do: Callable[[], Any], func: Any, args: Any, kwargs: Any) -> Doing:
        admitted = yield from self._let_in()
        notified: tuple[pybreaker.CircuitBreakerListener, ...] = self.listeners
        for listener in notified:
            listener.before_call(self, func, *args, **kwargs)
        begun_s = time.monotonic()
        try:
            value = yield do
            self._look_inside(value)
        except BaseException as error:
            yield from self._tell(admitted, self._told_by(error), time.monotonic() - begun_s)
            for listener in notified:
                listener.failure(self, error)
            raise
        # A response of a status that nobody raised says so to whoever called, and to the gate here.
        refused = answers.failure_of_status(value, _now())
        told = Told("answered") if refused is None else gate.told_by(refused)
        yield from self._tell(admitted, told, time.monotonic() - begun_s)
        for listener in notified:
            listener.success(self)
        return value

    def _look_inside(self, answer: object) -> None:
        """Raises ErrorInside for one that nobody can use, where that is the provider's doing."""
        failure = answers.failure_in(answer, _now())
        if failure is not None and gate.told_by(failure).kind not in ("answered", "nothing"):
            raise ErrorInside(str(self.name), failure, answer)

    def _let_in(self) -> Doing:
        """What the gate said when it let the call through; None where nobody could be asked."""
        number = next(self._numbers)
        until_s = time.monotonic() + PAUSE_S
        for look in itertools.count(1):
            try:
                said = yield partial(self._ask, "gate.admit", {"provider": self.name, "call": number}, ASK_WITHIN_S)
            except LeaseLost:
                raise
            except RedisUnavailable as problem:
                _warn(f"the gate of {self.name} could not be asked, and the call is made all the same: {problem}")
                return None
            self._hear(said["state"])
            if said["in"]:
                return said
            wait_s = said["wait_s"]
            if said["own"]:
                # Ended here, the attempt would take its own probe along, and so would each one after it.
                yield partial(_pause, backoff.delay_s(look, 0.0, OWN_S, MAX_OWN_S), awaits=self._awaits)
                continue
            if wait_s is None or time.monotonic() + wait_s > until_s:
                raise GateClosed(str(self.name), said["state"], wait_s, said["reason"])
            yield partial(_pause, wait_s, awaits=self._awaits)

    def _hear(self, state: str) -> None:
        self._storage.heard = STATES.get(state, pybreaker.STATE_OPEN)
        # Listeners are told by pybreaker where that is another state than before.
        _ = self.state

    def _told_by(self, error: BaseException) -> Told:
        if isinstance(error, Exception) and not self.is_system_error(error):
            return Told("answered")
        return gate.told_by(classify(error, "run", _now()))

    def _tell(self, admitted: Any, told: Told, took_s: float) -> Doing:
        """Tell the gate what it must hear; of a call that is being cancelled that must not be waited for long."""
        if admitted is None:
            return
        if told.kind == "answered" and breaker.is_slow(took_s, admitted["slow_s"]):
            told = Told("failed", f"it took {took_s:.1f} s")
        admission = Admission(admitted["gate"], admitted["epoch"], admitted["probe"], admitted["watched"])
        if not gate.is_worth_telling(told, admission):
            return
        said = {
            "provider": self.name, "epoch": admission.epoch, "kind": told.kind, "reason": told.reason[:300],
            "wait_s": told.wait_s,
        }  # fmt: skip
        try:
            yield partial(self._ask, "gate.tell", said, ASK_WITHIN_S)
        except RedisUnavailable as problem:
            _warn(f"the gate of {self.name} was not told that a call {told.kind}: {problem}")


def _now() -> float:
    return SystemClock().wall().timestamp()


def _pause(seconds: float, *, awaits: bool) -> Any:
    if not awaits:
        time.sleep(seconds)
        return None
    import asyncio

    return asyncio.sleep(seconds)


def _warn(sentence: str) -> None:
    """In the attempt's captured stderr."""
    print(f"proofq: {sentence}", file=sys.stderr)  # noqa: T201
