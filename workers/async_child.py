"""The process that the attempts of one async agent share: an event loop, and a task for each attempt.

    in     {"number", "run": {...}}      begin an attempt; `run` has what `child.run_agent` is given
           {"number", "cancel": true}    cancel its task
           {"number", "answer": {...}}   to what it has asked, see `workers.asking`
    out    {"number", "report"?, "stdout"?, "stderr"?, "cancelling"?, "ended"?, "left"?}

`report` are lines as on a report pipe, but for the start: of that the page of memory tells. `left` tasks of an attempt
that has ended do not end. It only claims: who believes it is somebody else's business.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextlib import suppress
from contextvars import Context as Variables
from contextvars import ContextVar, copy_context
from typing import Any, Final

from proofq.workers import child, steps
from proofq.workers.asking import no_answer, question, value_of
from proofq.workers.async_page import LoopPage
from proofq.workers.async_ticks import Clocks
from proofq.workers.child import Job
from proofq.workers.context import Context
from proofq.workers.running import GRACE_S
from proofq.workers.wire import Channel

#: The descriptors that a host is given beside those of every child.
CHANNEL_FD, PAGE_FD = 3, 4
#: The runner of a host.
RUN_HOST = "proofq.workers.async_child:run_host"
#: Seconds between two turns of a loop that has nothing to do.
_TURN_S = 0.5
#: Most text of one attempt that waits to be sent; beyond it the oldest goes.
_MOST_PIECES = 10_000

_attempt: Final[ContextVar[_Attempt | None]] = ContextVar("proofq_attempt", default=None)


def run_host(job: Job) -> None:
    """Be the host of the agent `payload["agent"]` until the supervisor needs it no more."""
    os.set_inheritable(CHANNEL_FD, False)
    host = _Host(job.agents[job.payload["agent"]], Channel(socket.socket(fileno=CHANNEL_FD)), LoopPage(PAGE_FD))
    host.serve()


class _Host:
    """The loop and its attempts."""

    def __init__(self, agent: Callable[..., Any], channel: Channel, page: LoopPage) -> None:
        self._agent = agent
        self._channel = channel
        self._page = page
        self._loop = asyncio.new_event_loop()
        self._thread = threading.get_ident()
        self._attempts: dict[int, _Attempt] = {}
        self._unsaid: dict[int, _Attempt] = {}
        self._leaving = False
        #: What is to be said waits for room.
        self._is_full = False
        self._clocks = Clocks()

    def serve(self) -> None:
        """Run until the channel closes or TERM comes."""
        asyncio.set_event_loop(self._loop)
        self._loop.set_task_factory(self._make_task)
        self._loop.add_reader(self._channel, self._read)
        self._loop.add_signal_handler(signal.SIGTERM, self._leave)
        sys.stdout, sys.stderr = _Routed("stdout", sys.stdout), _Routed("stderr", sys.stderr)
        self._turn()
        while not self._leaving or self._attempts:
            # An agent's own task may raise what ends a loop; it has that for its end, and the others go on.
            with suppress(SystemExit, KeyboardInterrupt):
                self._loop.run_forever()

    # --- what the loop calls ---

    def _turn(self) -> None:
        self._page.turn()
        self._loop.call_later(_TURN_S, self._turn)

    def _read(self) -> None:
        for message in self._channel.read():
            body = message.body
            if "run" in body:
                self._begin(body["number"], body["run"])
            elif (attempt := self._attempts.get(body["number"])) is not None:
                if "answer" in body:
                    attempt.answered(body["answer"])
                else:
                    attempt.cancel()
        if self._unsaid:
            # What was cancelled, before a step could keep the loop from saying so.
            self._say_all()
        if self._channel.eof:
            # Whoever could be told anything is gone.
            os._exit(0)

    def _leave(self) -> None:
        """We are replaced: nobody may end well from here on by having swallowed that."""
        self._leaving = True
        for attempt in self._attempts.values():
            attempt.task.cancel()
        self._leave_if_done()

    def _leave_if_done(self) -> None:
        if self._leaving and not self._attempts:
            self._loop.stop()

    def _begin(self, number: int, told: Mapping[str, Any]) -> None:
        attempt = _Attempt(number, self)
        self._attempts[number] = attempt
        variables = copy_context()
        variables.run(_attempt.set, attempt)
        steps = _Steps(self._live(attempt, told), number, self._page.numbers)
        attempt.task = asyncio.Task(steps, loop=self._loop, context=variables)
        # Seen without a word of ours, and before a first step could keep the loop from saying one.
        self._page.began(number)

    async def _live(self, attempt: _Attempt, told: Mapping[str, Any]) -> None:
        """One attempt, from its start until nothing of it is left in the loop."""
        try:
            for directory, marker_ns in told["ticks"]:
                await self._clocks.tick(directory, marker_ns)
            context = Context(
                told["task_id"],
                told["attempt"],
                told["workdir"],
                told["taskdir"],
                attempt,
                told.get("repair"),
                makes=True,
            )
            try:
                with steps.telling(attempt):
                    value = await self._agent(context, **told["inputs"])
            finally:
                context.tell()
        except BaseException as error:  # noqa: BLE001 - whatever it was, it is this attempt's failure
            if not self._leaving:
                traceback.print_exception(error)
                child.report_failure(attempt, child.classified(error, "run"))
        else:
            child.report_result(attempt, value)
        if attempt.tasks:
            attempt.left = await attempt.end_tasks()
        self._end(attempt)

    def _end(self, attempt: _Attempt) -> None:
        attempt.over = not self._leaving or attempt.has_claimed
        self.say(attempt)
        del self._attempts[attempt.number]
        self._leave_if_done()

    # --- saying ---

    def say_soon(self, attempt: _Attempt, now: bool = False) -> None:
        """Say what is new of an attempt with the next turn of the loop, or `now`; from any thread."""
        here = threading.get_ident() == self._thread
        if now and here:
            self.say(attempt)
        elif here:
            if not self._unsaid:
                self._loop.call_soon(self._say_all, context=Variables())
            self._unsaid[attempt.number] = attempt
        else:
            with suppress(RuntimeError):  # the loop is gone
                self._loop.call_soon_threadsafe(self.say, attempt)

    def _say_all(self) -> None:
        unsaid, self._unsaid = self._unsaid, {}
        for attempt in unsaid.values():
            self._queue(attempt)
        self._flush()

    def say(self, attempt: _Attempt) -> None:
        """Say what is new of an attempt, as far as there is room."""
        self._unsaid.pop(attempt.number, None)
        self._queue(attempt)
        self._flush()

    def _queue(self, attempt: _Attempt) -> None:
        news = attempt.news()
        if news:
            self._channel.queue({"number": attempt.number, **news})

    def _flush(self) -> None:
        if not self._channel.flush():
            self._loop.add_writer(self._channel, self._flush)
            self._is_full = True
        elif self._is_full:
            self._loop.remove_writer(self._channel)
            self._is_full = False

    # --- steps ---

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, context: Variables | None = None
    ) -> asyncio.Task[Any]:
        attempt = _attempt.get() if context is None else context.get(_attempt)
        if attempt is None:
            return asyncio.Task(coroutine, loop=loop, context=context)
        steps = _Steps(coroutine, attempt.number, self._page.numbers)
        task: asyncio.Task[Any] = asyncio.Task(steps, loop=loop, context=context)
        attempt.tasks.add(task)
        task.add_done_callback(attempt.tasks.discard, context=Variables())
        return task


class _Attempt:
    """One attempt: its task, those that its code has made, and what it has not said yet. A `Voice`."""

    task: asyncio.Task[None]
    awaits = True

    def __init__(self, number: int, host: _Host) -> None:
        self.number = number
        #: Tasks of the agent's own.
        self.tasks: set[asyncio.Task[Any]] = set()
        self.over = False
        self.left = 0
        self.has_claimed = False
        self._host = host
        self._cancelling = False
        self._unsaid: dict[str, deque[str]] = {}
        self._asked = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Mapping[str, Any]]] = {}

    def send(self, key: str, encoded: bytes) -> None:
        """One line of its report."""
        self.has_claimed = self.has_claimed or key == "result"
        self._add("report", f'{{"{key}":{encoded.decode("utf-8")}}}\n')
        self._host.say_soon(self)

    async def ask(self, op: str, args: bytes, within_s: float) -> Any:
        """What the supervisor answers to a question; raises what `Questions.ask` does."""
        number = next(self._asked)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            self.send("ask", question(number, op, args, within_s))
            return value_of(await asyncio.wait_for(answer, within_s))
        except TimeoutError:
            raise no_answer(op, within_s) from None
        finally:
            del self._answers[number]

    def answered(self, answer: Mapping[str, Any]) -> None:
        """One of its questions was answered; too late where nobody waits any more."""
        waiting = self._answers.get(answer.get("n", 0))
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def print(self, stream: str, text: str) -> None:
        """What it printed; a whole line is said at once, since its next step may keep the loop from turning."""
        self._add(stream, text)
        self._host.say_soon(self, now="\n" in text)

    def cancel(self) -> None:
        self._cancelling = True
        self.task.cancel()
        self._host.say_soon(self)

    async def end_tasks(self) -> int:
        """Cancel what it left running; how many do not end in time."""
        left = [task for task in self.tasks if not task.done()]
        for task in left:
            task.cancel()
        if left:
            with suppress(asyncio.CancelledError):
                await asyncio.wait(left, timeout=GRACE_S)
        return sum(not task.done() for task in left)

    def news(self) -> dict[str, Any]:
        """What is to be said of it; {} for nothing."""
        said: dict[str, Any] = {}
        for key, pieces in list(self._unsaid.items()):
            text = ""
            while pieces:
                text += pieces.popleft()
            if text:
                said[key] = text
        if self._cancelling:
            said["cancelling"] = True
            self._cancelling = False
        if self.over:
            said |= {"ended": True, "left": self.left}
        return said

    def _add(self, key: str, text: str) -> None:
        pieces = self._unsaid.setdefault(key, deque(maxlen=None if key == "report" else _MOST_PIECES))
        pieces.append(text)


class _Steps(Coroutine[Any, Any, Any]):
    """A coroutine that writes down whose step runs; everything else of it is that of the coroutine itself."""

    __slots__ = ("_coroutine", "_number", "_numbers")

    def __init__(self, coroutine: Any, number: int, numbers: memoryview) -> None:
        self._coroutine = coroutine
        self._number = number
        self._numbers = numbers

    def send(self, value: Any) -> Any:
        numbers = self._numbers
        numbers[0] = self._number
        numbers[1] += 1
        try:
            return self._coroutine.send(value)
        finally:
            numbers[0] = 0

    def throw(self, *error: Any) -> Any:
        numbers = self._numbers
        numbers[0] = self._number
        numbers[1] += 1
        try:
            return self._coroutine.throw(*error)
        finally:
            numbers[0] = 0

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield from self._coroutine.__await__())

    def __getattr__(self, name: str) -> Any:
        # Libraries look at cr_frame, cr_running and the like.
        return getattr(self._coroutine, name)


class _Routed:
    """A standard stream: what an attempt prints is the attempt's, everything else the host's."""

    def __init__(self, name: str, real: Any) -> None:
        self._name = name
        self._real = real

    def write(self, text: str) -> int:
        attempt = _attempt.get()
        if attempt is None or attempt.over or not isinstance(text, str):
            written: int = self._real.write(text)
            return written
        attempt.print(self._name, text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)
