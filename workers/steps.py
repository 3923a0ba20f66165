"""`@proofq.step`: a function whose calls an agent's `must_call` can ask for. Outside an attempt it is a plain function.

A step is told when the call has come back, on the report pipe that the attempt has anyway; one that raised was not
done. Whose attempt it is, is known by the context: coroutines and threads of `asyncio.to_thread` inherit it. A thread
that does not falls back on the attempt that is alone in its process.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar, overload

from proofq.policies import wiring
from proofq.policies.declared import NAME
from proofq.workers.errors import DeclarationError
from proofq.workers.report import Voice, strict_json

P = ParamSpec("P")
R = TypeVar("R")


class Steps:
    """The steps of one attempt: each is told once, when it comes back first."""

    def __init__(self, reporter: Voice) -> None:
        self._reporter = reporter
        self._told: set[str] = set()

    def done(self, name: str) -> None:
        """Tell that the step has come back."""
        if name not in self._told and len(self._told) < wiring.MAX_STEPS:
            self._told.add(name)
            self._reporter.send("step", strict_json(name, "a step", 200))


_of_context: ContextVar[Steps | None] = ContextVar("proofq_steps", default=None)
#: The attempts that run in this process now.
_here: set[Steps] = set()


@contextmanager
def telling(reporter: Voice) -> Iterator[None]:
    """While an attempt runs: the steps that are called in this context are its own."""
    steps = Steps(reporter)
    token = _of_context.set(steps)
    _here.add(steps)
    try:
        yield
    finally:
        _here.remove(steps)
        _of_context.reset(token)


@overload
def step(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def step(*, name: str) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def step(function: Callable[..., Any] | None = None, /, *, name: str = "") -> Any:
    """Declare a function, `def` or `async def`, as a step called like it, or `name`.

    A claim of an agent that says `must_call = ["write"]` is `unverified` unless `write` was called and came back.
    Raises DeclarationError with file and line for what is no such function, and for a name that is none.
    """
    if function is None:
        return functools.partial(_declare, name=name)
    return _declare(function, name)


def _declare(function: Any, name: str) -> Any:
    if not inspect.isfunction(function):
        raise DeclarationError(f"@proofq.step declares functions, not {function!r:.80}; put it on a def.")
    name = name or function.__name__
    where = f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"
    if not NAME.fullmatch(name):
        raise DeclarationError(f"{where}: {name!r:.80} is no name of a step; use 1 to 128 letters, digits, _ and -.")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DeclarationError(f"{where}: step {name}: it yields, so a call of it has run nothing; return instead.")
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def later(*args: Any, **kwargs: Any) -> Any:
            value = await function(*args, **kwargs)
            _done(name)
            return value

        return later

    @functools.wraps(function)
    def now(*args: Any, **kwargs: Any) -> Any:
        value = function(*args, **kwargs)
        _done(name)
        return value

    return now


def _done(name: str) -> None:
    steps = _of_context.get()
    if steps is None and len(_here) == 1:
        steps = next(iter(_here))
    if steps is not None:
        steps.done(name)
