"""Loading a project's agents before anything is forked, and finding out who leaves a thread behind by it.

A fork copies one thread and every lock as it stands: with a second thread around it may copy a lock nobody will ever
release. So threads are counted after loading, and the modules that left one are named.
"""

from __future__ import annotations

import builtins
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

#: The agents of a project by name.
Agents = Mapping[str, Callable[..., Any]]

#: How long a thread that was joined may still show, in seconds: the kernel takes a moment to remove it.
_LINGER_S = 0.2


@dataclass(frozen=True)
class Preload:
    """What to load: `function` ("module:function") is called with `argument` and gives the agents by name.

    `path` are folders put in front of sys.path before anything of the project is imported.
    """

    function: str
    argument: Mapping[str, Any] = field(default_factory=dict)
    path: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As a JSON object with exactly this class's field names."""
        return {"function": self.function, "argument": dict(self.argument), "path": list(self.path)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Preload:
        """Read what `to_dict` wrote."""
        return cls(data["function"], data["argument"], tuple(data["path"]))

    def load(self) -> Agents:
        """The agents. Raises whatever the project's modules raise while they are imported."""
        sys.path[:0] = [folder for folder in self.path if folder not in sys.path]
        agents: Agents = resolve(self.function)(dict(self.argument))
        return agents


def resolve(name: str) -> Callable[..., Any]:
    """The callable that "module:qualified.name" means. Raises ImportError, AttributeError, TypeError."""
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{name} cannot be called")
    return found  # type: ignore[no-any-return]


def thread_count() -> int:
    """Threads of this process, those that Python knows nothing of included."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - called after every import


class ThreadWatch:
    """Remembers which module was being imported when threads came into being."""

    def __init__(self) -> None:
        self._of_python: list[tuple[threading.Thread, str]] = []
        self._of_others: list[str] = []
        self._seen = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at every import and every Thread.start meanwhile."""
        imports, starts = builtins.__import__, threading.Thread.start

        def import_(name: str, *args: Any, **kwargs: Any) -> Any:
            loaded = len(sys.modules)
            module = imports(name, *args, **kwargs)
            if len(sys.modules) != loaded:
                self._after_import(name)
            return module

        def start(thread: threading.Thread) -> None:
            self._of_python.append((thread, _importing()))
            starts(thread)

        builtins.__import__ = import_
        threading.Thread.start = start  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            builtins.__import__ = imports
            threading.Thread.start = starts  # type: ignore[method-assign]

    def culprits(self) -> list[str]:
        """The modules that left a thread; [] when this process has one thread only."""
        end = time.monotonic() + _LINGER_S
        while thread_count() > 1:
            if time.monotonic() >= end:
                alive = [module for thread, module in self._of_python if thread.is_alive()]
                return sorted({*alive, *self._of_others}) or ["(unknown)"]
            time.sleep(_LINGER_S / 20)
        return []

    def _after_import(self, name: str) -> None:
        """The innermost import that returns with more threads than before is the one that made them."""
        of_others = thread_count() - 1 - sum(thread.is_alive() for thread, _ in self._of_python)
        if of_others > self._seen:
            self._seen = of_others
            self._of_others.append(name)


def _importing() -> str:
    """The module whose body is being executed, the innermost one."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") != "__main__":
            return str(frame.f_globals["__name__"])
    return "(unknown)"
