"""Answers what attempts ask: a table of handlers, and threads that come with the first question.

A question comes in the thread that reads all reports, so it is only taken there. A handler is given the lease that the
attempt is held by, and may wait for Redis until the question's time is over (`insist(..., question.give_up)`), for
nothing else: whoever has to wait longer is told so, and asks again.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from proofq.workers.asking import ANSWER_WITHIN_S, MAX_VALUE_BYTES
from proofq.workers.clock import Clock
from proofq.workers.errors import BadInput, Error, LeaseLost

if TYPE_CHECKING:
    from proofq.workers.owner import Held

log = logging.getLogger(__name__)

#: Questions of one attempt that may be open at a time; one more is refused.
MAX_OPEN: Final = 8
#: Threads that answer, for all attempts of a supervisor.
THREADS: Final = 8
#: Seconds by which an answer goes out before the question's time is over, so that it says what was wrong.
_EARLIER_S: Final = 0.5

#: How an answer travels: it must neither wait for long nor raise.
Reply: TypeAlias = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Question:
    """What was asked, by the attempt that `held` is of. Whoever insists gives up when `give_up` says so: the time is
    over, or the attempt is being stopped."""

    held: Held
    args: Mapping[str, Any]
    give_up: Callable[[], bool]


#: Gives the value, JSON up to `MAX_VALUE_BYTES`; an Error it raises is raised by who asked, under its own class.
Handler: TypeAlias = Callable[[Question], Any]


class Answering:
    """The desk of one supervisor. Thread-safe."""

    def __init__(self, handlers: Mapping[str, Handler], clock: Clock) -> None:
        self._handlers = handlers
        self._clock = clock
        self._holding: Callable[[], list[Held]] = list
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()
        self._threads: ThreadPoolExecutor | None = None

    def open(self, holding: Callable[[], list[Held]]) -> None:
        """`holding` gives the leases that this supervisor holds; until it is known nobody is answered."""
        self._holding = holding

    def close(self) -> None:
        """Whoever has not been answered will not be."""
        with self._lock:
            if self._threads is not None:
                self._threads.shutdown(wait=False, cancel_futures=True)

    def take(self, fence: str, reply: Reply, said: Any) -> None:
        """A question of the attempt under `fence`, as it came. Never waits, never raises."""
        if not _fits(said):
            return
        with self._lock:
            crowded = self._open[fence] >= MAX_OPEN
            if not crowded:
                self._open[fence] += 1
            if self._threads is None:
                self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="answer")
            work = partial(_refuse, reply, said["n"], _CROWDED) if crowded else partial(self._do, fence, reply, said)
            try:
                self._threads.submit(work)
            except RuntimeError:  # closed
                self._forget(fence)

    def _do(self, fence: str, reply: Reply, said: Mapping[str, Any]) -> None:
        try:
            value = self._value(fence, said)
            if len(json.dumps(value, allow_nan=False)) > MAX_VALUE_BYTES:
                raise Error(f"The answer to {said['op']} is over {MAX_VALUE_BYTES} bytes of JSON.")
        except Error as problem:
            _refuse(reply, said["n"], problem)
        except Exception as problem:
            log.exception("answer_error", extra={"op": said["op"]})
            _refuse(reply, said["n"], Error(f"{said['op']} failed in the worker: {type(problem).__name__}"))
        else:
            reply({"n": said["n"], "value": value})
        finally:
            with self._lock:
                self._forget(fence)

    def _value(self, fence: str, said: Mapping[str, Any]) -> Any:
        handler = self._handlers.get(said["op"])
        if handler is None:
            raise BadInput(f"This worker answers no {said['op']!r:.60}.")
        held = next((one for one in self._holding() if one.fence == fence), None)
        if held is None or held.stopped is not None:
            raise LeaseLost("This attempt is being stopped, or its task is somebody else's by now.")
        until_s = self._clock.boottime() + min(said["within_s"], ANSWER_WITHIN_S) - _EARLIER_S
        return handler(Question(held, said["args"], lambda: bool(held.stopped) or self._clock.boottime() >= until_s))

    def _forget(self, fence: str) -> None:
        self._open[fence] -= 1
        if self._open[fence] <= 0:
            del self._open[fence]


_CROWDED: Final = Error(f"More than {MAX_OPEN} questions of this attempt wait for an answer; ask fewer at a time.")


def _refuse(reply: Reply, number: int, problem: Error) -> None:
    reply({"n": number, "error": {"kind": problem.kind, "message": str(problem)[:2000]}})


def _fits(said: Any) -> bool:
    """An agent may write to its report itself: what `ctx` would not have asked is no question."""
    fits = isinstance(said, Mapping) and type(said.get("n")) is int and isinstance(said.get("op"), str)
    return bool(fits and isinstance(said.get("args"), Mapping) and type(said.get("within_s")) in (int, float))
