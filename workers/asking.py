"""What an attempt asks its supervisor, and how it waits for the answer: the child's end, and the form of both.

    question    {"ask": {"n": 1, "op": "once.begin", "within_s": 90.0, "args": {...}}}      a line of the report
    answer      {"n": 1, "value": ...}   or   {"n": 1, "error": {"kind", "message"}}

A function's process has the report on a socket, whose other direction carries answers as lines; an async attempt has
them with its host's messages. Who answers, and what a question may cost, is `workers.answering`.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from proofq.workers.errors import Error, NoAnswer, answered_with

#: Longest arguments of a question, and longest value of an answer, in bytes of JSON.
MAX_ARGS_BYTES: Final = 64 * 1024
MAX_VALUE_BYTES: Final = 64 * 1024
#: Seconds within which an answer comes unless a question says otherwise: longer than a Redis may be away and the
#: attempt still lives (`isolation_s` less ten seconds, by default).
ANSWER_WITHIN_S: Final = 90.0
#: Longest line that is read of what should be an answer.
_MAX_LINE_BYTES: Final = MAX_VALUE_BYTES + 4096


def question(number: int, op: str, args: bytes, within_s: float) -> bytes:
    """The body of a question; `args` is a JSON object. Raises Error where that is too long."""
    if len(args) > MAX_ARGS_BYTES:
        raise Error(f"A question of {len(args)} bytes of JSON to the worker; at most {MAX_ARGS_BYTES} are asked.")
    return b'{"n":%d,"op":"%s","within_s":%.3f,"args":%s}' % (number, op.encode("ascii"), within_s, args)


def value_of(answer: Mapping[str, Any]) -> Any:
    """What was answered; raises the Error that was."""
    error = answer.get("error")
    if isinstance(error, Mapping):
        raise answered_with(str(error.get("kind")), str(error.get("message")))
    return answer.get("value")


def no_answer(op: str, within_s: float) -> NoAnswer:
    """What is raised where none came in time."""
    return NoAnswer(f"The worker did not answer {op} within {within_s:g} s; is its Redis reachable?")


class Questions:
    """Asks on the report's socket, one question at a time; threads of the agent wait for one another. Only in the
    process that the attempt began in: two that read answers from one socket would get each other's."""

    def __init__(self, descriptor: int, send: Callable[[str, bytes], None]) -> None:
        self._descriptor = descriptor
        self._send = send
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._bytes = bytearray()

    def ask(self, op: str, args: bytes, within_s: float) -> Any:
        """The value that was answered. Raises NoAnswer, the Error that was answered, or Error in another process."""
        if os.getpid() != self._pid:
            raise Error(f"{op} can only be asked in the attempt's own process; do it before the work is forked.")
        until_s = time.monotonic() + within_s
        if not self._lock.acquire(timeout=within_s):
            raise no_answer(op, within_s)
        try:
            number = next(self._numbers)
            self._send("ask", question(number, op, args, max(0.0, until_s - time.monotonic())))
            while (answer := self._next(until_s)) is not None:
                # Others are late answers to questions that were given up.
                if answer.get("n") == number:
                    return value_of(answer)
        finally:
            self._lock.release()
        raise no_answer(op, within_s)

    def _next(self, until_s: float) -> Mapping[str, Any] | None:
        """The next answer, None when none comes in time or the supervisor is gone."""
        while (end := self._bytes.find(b"\n")) < 0:
            if len(self._bytes) > _MAX_LINE_BYTES or not self._read(until_s):
                return None
        line = bytes(self._bytes[:end])
        del self._bytes[: end + 1]
        said = json.loads(line)
        return said if isinstance(said, dict) else {}

    def _read(self, until_s: float) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        if not poll.poll(max(0.0, until_s - time.monotonic()) * 1000):
            return False
        try:
            data = os.read(self._descriptor, _MAX_LINE_BYTES)
        except OSError:
            return False
        self._bytes += data
        return bool(data)
