"""What commands print: one JSON document for scripts, or text and tables for people; everything else goes to stderr.

Text that came from an agent or a user is shown with its control characters escaped, so that no output can move the
cursor or colour a terminal.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

#: Version of every JSON document. It changes only if a name changes its meaning or goes away.
SCHEMA_VERSION: Final = 1
#: A list of items up to this size (bytes) is put together in memory, a longer one on disk.
_SPOOL_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class Output:
    """Where a command writes. `as_json`: `--json` was given, and stdout gets exactly one document."""

    stdout: IO[str]
    stderr: IO[str]
    as_json: bool = False

    def document(self, data: Mapping[str, Any]) -> None:
        """Print the one JSON document. ASCII with escapes, so that no locale and no broken text gets in its way."""
        self.stdout.write(f"{_dumps({'schema_version': SCHEMA_VERSION, **data})}\n")

    def items(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Print the one JSON document of a list of any length: nothing at all is printed if reading it fails midway."""
        self.listed("items", items)

    def listed(self, name: str, values: Iterable[Any], more: Callable[[], Mapping[str, Any]] = dict) -> None:
        """The same for a list by another name, with what is only known at its end beside it."""
        with tempfile.SpooledTemporaryFile(_SPOOL_BYTES, "w+", encoding="ascii") as spool:
            spool.write(f'{{"schema_version": {SCHEMA_VERSION}, "{name}": [')
            for number, value in enumerate(values):
                spool.write(f"{', ' if number else ''}{_dumps(value)}")
            rest = "".join(f", {_dumps(key)}: {_dumps(value)}" for key, value in more().items())
            spool.write(f"]{rest}}}\n")
            spool.seek(0)
            shutil.copyfileobj(spool, self.stdout)

    def line(self, text: str = "") -> None:
        """Print one line for people to stdout."""
        self.stdout.write(f"{_encodable(text, self.stdout)}\n")

    def live(self, text: str) -> None:
        """Print what comes piece by piece, at once and without a line end: to stdout, or to stderr with --json."""
        stream = self.stderr if self.as_json else self.stdout
        stream.write(_encodable(text, stream))
        stream.flush()

    def note(self, text: str) -> None:
        """Say something about the work itself on stderr."""
        self.stderr.write(f"{_encodable(text, self.stderr)}\n")
        self.stderr.flush()

    def pairs(self, pairs: Iterable[tuple[str, Any]]) -> None:
        """Print names and values, one a line; those without a value are left out."""
        shown = [(name, plain(value)) for name, value in pairs if value not in (None, "", [], {})]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            self.line(f"{name:<{width}}  {value}")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Print a table; coloured on a terminal only, and as wide as its content where stdout is none."""
        # Imported here: it takes longer than everything else a command loads.
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*columns, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*(Text(_encodable(plain(cell), self.stdout)) for cell in row))
        is_terminal = self.stdout.isatty()
        Console(
            file=self.stdout, width=None if is_terminal else 500, force_terminal=is_terminal, highlight=False
        ).print(table)


def plain(value: Any) -> str:
    """A value as one line of text: no control characters, JSON for what is not text."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else str(value) if isinstance(value, int | float) else _readable(value)
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _readable(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _encodable(text: str, stream: IO[str]) -> str:
    """The text with what the stream cannot carry escaped; only a terminal's line ends stay as they are."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False)
