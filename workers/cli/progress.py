"""Progress on stderr: a line per event, and on a terminal one more line that says how things stand now."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from proofq.workers.cli.render import Output, plain

if TYPE_CHECKING:
    from rich.status import Status


class Progress:
    """Use as a context manager. Where stderr is no terminal, only the lines of `say` are written, as they are."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._console: Any = None
        self._status: Status | None = None

    def __enter__(self) -> Progress:
        if self._output.stderr.isatty():
            from rich.console import Console

            self._console = Console(file=self._output.stderr, highlight=False, markup=False, soft_wrap=True)
            self._status = self._console.status("")
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._status is not None:
            self._status.stop()

    def say(self, line: str) -> None:
        """Something happened; the line stays."""
        if self._console is None:
            self._output.note(line)
        else:
            self._console.print(plain(line))

    def now(self, text: str) -> None:
        """How things stand; takes the place of what stood there before, on a terminal alone."""
        if self._status is not None:
            from rich.text import Text

            self._status.update(Text(plain(text)))
