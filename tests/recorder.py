"""A runner of scripts that can send again what it sent last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from proofq.workers.scripts import Argument, Runner


class Recorder:
    """A runner that remembers the last script it was asked to run, so that the very same can be sent again."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.last: tuple[str, tuple[Argument, ...]] = ("", ())

    def __call__(self, name: str, arguments: Sequence[Argument]) -> list[Any]:
        self.last = (name, tuple(arguments))
        return self._runner(name, arguments)

    def again(self) -> Callable[[], list[Any]]:
        """Sends what was asked last, as often as it is called and whatever is asked meanwhile."""
        name, arguments = self.last
        return lambda: self._runner(name, arguments)
