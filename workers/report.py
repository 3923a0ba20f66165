"""What an attempt's first process says of itself, on a pipe of its own: one JSON object per line.

    {"started": true}                      a function is about to be called
    {"start_error": {"errno", "step"}}     it never came to that: which step failed, and how
    {"progress": evidence}                 what `ctx.progress` was given, when it changed
    {"step": "write"}                      a function under `@proofq.step` was called and came back
    {"ask": {...}}                         a question to the supervisor; see `workers.asking`
    {"result": value}                      the claim of a function that returned
    {"failure": {...}}                     its classified exception, as `Failure.to_dict` writes it

A command says nothing: that the pipe closes at its exec is how its start is known.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from proofq.policies.declared import NAME
from proofq.policies.wiring import MAX_STEPS
from proofq.workers.asking import MAX_ARGS_BYTES, Questions

#: Longest result, in bytes of JSON. A larger one belongs in a file, whose path is the result.
MAX_RESULT_BYTES = 1024 * 1024
#: Longest progress evidence, in bytes of JSON: its line is written in one piece, whoever else writes to the pipe.
MAX_PROGRESS_BYTES = 4000
#: Longest line that is read; what a child writes beyond it is not a report any more.
_MAX_LINE_BYTES = MAX_RESULT_BYTES + 64 * 1024
#: Longest line that is a question.
_MAX_ASK_BYTES = MAX_ARGS_BYTES + 1024


class NotStrictJSON(ValueError):
    """A value that cannot be sent as strict JSON; the message is a sentence for the author of the agent."""


def strict_json(value: Any, what: str, max_bytes: int) -> bytes:
    """`value` as UTF-8 JSON. Raises NotStrictJSON for NaN, keys that are no text, half characters, and size."""
    try:
        _check_keys(value, what)
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except NotStrictJSON:
        raise
    except UnicodeEncodeError as error:
        raise NotStrictJSON(f"{what} holds half a surrogate pair, which is no text") from error
    except RecursionError as error:
        raise NotStrictJSON(f"{what} is nested too deeply") from error
    except (TypeError, ValueError) as error:
        raise NotStrictJSON(f"{what} is no JSON: {error}") from error
    if len(text) > max_bytes:
        raise NotStrictJSON(
            f"{what} is {len(text)} bytes of JSON, at most {max_bytes} are taken; write it to a file instead"
        )
    return text


def _check_keys(value: Any, what: str) -> None:
    """Refuse keys that `json.dumps` would silently turn into text, perhaps the same text twice."""
    if isinstance(value, dict):
        for key, one in value.items():
            if not isinstance(key, str):
                raise NotStrictJSON(f"{what} has the key {key!r}; keys of JSON are text")
            _check_keys(one, what)
    elif isinstance(value, list | tuple):
        for one in value:
            _check_keys(one, what)


class Voice(Protocol):
    """How an attempt says something of itself, and asks."""

    #: Whether what is asked is to be awaited.
    awaits: bool

    def send(self, key: str, encoded: bytes) -> None:
        """Say one line with one key; `encoded` is JSON."""

    def ask(self, op: str, args: bytes, within_s: float) -> Any:
        """What the supervisor answers to `op`; of an async attempt something to await. See `workers.asking`."""


class Reporter:
    """The child's end. Writes whole lines and waits for room; threads of the agent may report and ask, too."""

    awaits = False

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._questions: Questions | None = None

    def send(self, key: str, encoded: bytes) -> None:
        """Write one line with one key; `encoded` is JSON. A supervisor that is gone is no error."""
        rest = memoryview(b'{"' + key.encode("ascii") + b'":' + encoded + b"}\n")
        with self._lock, suppress(BrokenPipeError):
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def ask(self, op: str, args: bytes, within_s: float) -> Any:
        """Ask the supervisor and wait; raises what `Questions.ask` does."""
        with self._lock:
            if self._questions is None:
                self._questions = Questions(self._descriptor, self.send)
        return self._questions.ask(op, args, within_s)


@dataclass(frozen=True, slots=True)
class StartError:
    """Why a first process never came up: the errno and the step, like "exec claude"."""

    errno: int
    step: str


class ReportReader:
    """The supervisor's end: folds lines into what is known. Not thread-safe; never raises for what a child wrote."""

    def __init__(self, *, silent: bool) -> None:
        #: True for a command, whose start is known by the pipe's end.
        self._silent = silent
        self._bytes = bytearray()
        self._broken = False
        #: The start is confirmed.
        self.started = False
        self.start_error: StartError | None = None
        #: The latest evidence given to `ctx.progress`, as strict JSON, and how often it came.
        self.progress = ""
        self.progress_count = 0
        #: The steps that came back, each once, in the order in which they did so first.
        self.steps: tuple[str, ...] = ()
        #: {"result": …} or {"failure": …}, the last one said; None when there was none.
        self.last: dict[str, Any] | None = None
        #: Given each question as it came, in the thread that reads; must neither wait nor raise.
        self.on_ask: Callable[[Any], None] | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the pipe."""
        self._bytes += data
        while not self._broken and (end := self._bytes.find(b"\n")) >= 0:
            line = bytes(self._bytes[:end])
            del self._bytes[: end + 1]
            self._take(line)
        self._broken = self._broken or len(self._bytes) > _MAX_LINE_BYTES
        if self._broken:
            self._bytes.clear()

    def end(self) -> None:
        """The pipe has closed."""
        if self._silent and self.start_error is None:
            self.started = True

    def _take(self, line: bytes) -> None:
        try:
            said = _DECODER.decode(line.decode("utf-8"))
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict) or len(said) != 1:
            self._broken = True
        elif "started" in said:
            self.started = True
        elif "start_error" in said:
            self._take_start_error(said["start_error"])
        elif "progress" in said:
            self._take_progress(said["progress"])
        elif "step" in said:
            self._take_step(said["step"])
        elif "ask" in said:
            if self.on_ask is not None and len(line) <= _MAX_ASK_BYTES:
                self.on_ask(said["ask"])
        elif "result" in said or "failure" in said:
            self.last = said

    def _take_progress(self, said: Any) -> None:
        """An agent may write to the pipe itself: what `ctx.progress` would have refused is no evidence."""
        try:
            self.progress = strict_json(said, "progress", MAX_PROGRESS_BYTES).decode("utf-8")
            self.progress_count += 1
        except NotStrictJSON:
            return

    def _take_step(self, said: Any) -> None:
        fits = isinstance(said, str) and NAME.fullmatch(said) and len(self.steps) < MAX_STEPS
        if fits and said not in self.steps:
            self.steps = (*self.steps, said)

    def _take_start_error(self, said: Any) -> None:
        code, step = (said.get("errno"), said.get("step")) if isinstance(said, dict) else (None, None)
        self.start_error = StartError(code if isinstance(code, int) else 0, str(step))


def _no_number(word: str) -> None:
    """NaN or Infinity, which an agent that writes to the pipe itself may say and nobody after us could keep."""
    raise ValueError(f"{word} is no JSON number")


#: Made once: as a call's option each line would pay for a decoder of its own.
_DECODER = json.JSONDecoder(parse_constant=_no_number)
