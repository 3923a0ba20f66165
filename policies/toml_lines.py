"""Where each key of a TOML text stands, since tomllib does not say.

Reads a text that tomllib has accepted, so it need not judge: it only follows tables, keys, strings and brackets.
"""

from __future__ import annotations

import contextlib
import re

Path = tuple[str | int, ...]

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{1,2}(?!"))?|' + r"'''.*?'''(?:'{1,2}(?!'))?|" + r'"(?:[^"\\]|\\.)*"|' + r"'[^']*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^\s,\]}#]+(?: [0-9][^\s,\]}#]*)?")
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


def lines(text: str) -> dict[Path, int]:
    """Give the line (from 1) of every table, key and array element by its path, ("agents", "note", "proofs", 0).

    An unreadable text gives what was read up to there.
    """
    reader = _Reader(text)
    with contextlib.suppress(_Lost):
        reader.document()
    return reader.found


def line_of(found: dict[Path, int], path: Path) -> int | None:
    """Give the line of the path, else of the first thing in it, else of the nearest table around it, else None."""
    for length in range(len(path), 0, -1):
        under = [line for each, line in found.items() if each[:length] == path[:length]]
        if under:
            return found.get(path[:length], min(under))
    return None


class _Lost(Exception):
    """The text is not what TOML allows there."""


class _Reader:
    """A cursor on the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[Path, int] = {}
        self.tables: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        while self.peek():
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)

    def header(self) -> Path:
        """[a.b] or [[a.b]]: the path its keys stand under."""
        start = self.at
        many = self.text.startswith("[[", self.at)
        self.at += 2 if many else 1
        table: Path = ()
        names = self.key()
        for index, name in enumerate(names):
            last = index == len(names) - 1
            table = (*table, name)
            if many and last:
                self.tables[table] = self.tables.get(table, -1) + 1
            if table in self.tables:
                # Beneath an array of tables every name means its newest element.
                self.mark(table, start)
                table = (*table, self.tables[table])
        self.mark(table, start)
        for _ in range(2 if many else 1):
            self.expect("]")
        return table

    def pair(self, table: Path) -> None:
        self.peek()
        start = self.at
        path = (*table, *self.key())
        for length in range(len(table) + 1, len(path) + 1):
            self.mark(path[:length], start)
        self.expect("=")
        self.value(path)

    def value(self, path: Path) -> None:
        opening = self.peek()
        if opening == "[":
            self.array(path)
        elif opening == "{":
            self.inline_table(path)
        else:
            match = _STRING.match(self.text, self.at) or _SCALAR.match(self.text, self.at)
            if match is None:
                raise _Lost
            self.at = match.end()

    def array(self, path: Path) -> None:
        self.at += 1
        index = 0
        while self.peek() != "]":
            self.mark((*path, index), self.at)
            self.value((*path, index))
            index += 1
            if self.peek() == ",":
                self.at += 1
        self.at += 1

    def inline_table(self, path: Path) -> None:
        self.at += 1
        while self.peek() != "}":
            self.pair(path)
            if self.peek() == ",":
                self.at += 1
        self.at += 1

    def key(self) -> list[str]:
        names = [self.name()]
        while self.peek() == ".":
            self.at += 1
            names.append(self.name())
        return names

    def name(self) -> str:
        quote = self.peek()
        match = (_STRING if quote in ("'", '"') else _BARE).match(self.text, self.at)
        if match is None:
            raise _Lost
        self.at = match.end()
        if quote == '"':
            return _ESCAPE.sub(_unescaped, match[0][1:-1])
        return match[0][1:-1] if quote == "'" else match[0]

    def peek(self) -> str:
        """Skip white space and comments; give the next character, "" at the end."""
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.text[self.at : self.at + 1]

    def expect(self, character: str) -> None:
        if self.peek() != character:
            raise _Lost
        self.at += 1

    def mark(self, path: Path, at: int) -> None:
        self.found.setdefault(path, self.text.count("\n", 0, at) + 1)


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if code[0] in "uU" and len(code) > 1 else _ESCAPES.get(code, code)
