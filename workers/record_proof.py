"""The `record` proof: one row of a sqlite file, read back without writing anything anywhere, not even a lock's file.

Types must match: 1 is not '1', not 1.0 and not true. A file, a table or a column that is not there is a no, since
the record is then not there either; a file that is no database, is damaged, locked or half-way through somebody's
transaction cannot tell.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import quote

from proofq.policies.agent import JSON
from proofq.policies.freshness import FileRecord
from proofq.policies.verdict import ProofResult
from proofq.workers import regular_file

#: Longest time a writer is waited for, and how many steps of sqlite's machine lie between two looks at the clock.
MAX_BUSY_S = 5.0
_STEPS = 10_000
#: Longest text or blob that is read.
MAX_VALUE_BYTES = 16 * 1024 * 1024
#: Where a database's header says that it is written through a log (`-wal`) beside it, and how.
_HEADER_BYTES, _WRITE_VERSION_AT, _WAL = 20, 18, 2

#: What a query may do. Everything else (ATTACH, PRAGMA, any write) is denied while it is compiled.
_ALLOWED = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
_NOT_THERE = ("no such table: ", "no such column: ")


class _CannotTell(Exception):
    """The database could not be read as it is; the message says why."""


class _NotSo(Exception):
    """It was looked, and the record is not as declared. `seen` is what there was instead."""

    def __init__(self, reason: str, seen: Mapping[str, JSON] | None = None) -> None:
        super().__init__(reason)
        self.seen = seen or {}


def check(options: Mapping[str, JSON], within_s: float) -> ProofResult:
    """Prove that the query gives exactly one row, and that it is `equals`. Never raises; ends within `within_s`.

    `options` are the contract's, placeholders filled in and `db` absolute. `equals`: a value for a row of one column,
    or a list with a value for each. Who wrote the row is not seen; `must_change` is for that.
    """
    shown = {"db": str(options.get("db", "")), "query": options.get("query")}
    try:
        row = _the_row(options, time.monotonic() + within_s)
        _compare(options["equals"], row)
    except regular_file.BadPath as error:
        return ProofResult("record", "unverified", {**shown, "reason": str(error)}, class_="bad_input")
    except _NotSo as error:
        return ProofResult("record", "unverified", {**shown, "reason": str(error), **error.seen})
    except (_CannotTell, regular_file.Unreachable) as error:
        return ProofResult("record", "cannot_tell", {**shown, "reason": str(error)})
    return ProofResult("record", "verified", {**shown, "row": _shown(row)})


def _the_row(options: Mapping[str, JSON], deadline: float) -> list[Any]:
    path = str(options.get("db", ""))
    stands = regular_file.record_without_content(path)
    if not stands.exists:
        raise _NotSo("there is no database")
    if not stands.is_file:
        raise _NotSo(f"a {stands.kind} stands there; only a regular file proves anything")
    with _told_apart(deadline):
        mode = _mode(path)
        with closing(_opened(path, mode, deadline)) as db:
            rows = db.execute(str(options["query"]), options.get("params", [])).fetchmany(2)
    if mode == _UNTOUCHED and (os.path.lexists(f"{path}-wal") or _moved_on(stands, path)):
        raise _CannotTell("the database was written while it was read")
    if not rows:
        raise _NotSo("no row")
    if len(rows) > 1:
        raise _NotSo("more than one row; exactly one is asked for", {"rows": [_shown(list(row)) for row in rows]})
    return list(rows[0])


# --- opening ---

#: With the locks of everybody else, writing nothing: for a database whose log is in use, the log's index is only read.
_SHARED = "mode=ro&readonly_shm=1"
#: Without locks, since none could be taken without making the log's files. Whether it held still is looked at after.
_UNTOUCHED = "mode=ro&immutable=1"


def _mode(path: str) -> str:
    """How to open it, so that nothing is made beside it: with a log that nobody uses it is complete by itself."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        header = os.read(descriptor, _HEADER_BYTES)
    finally:
        os.close(descriptor)
    logged = len(header) == _HEADER_BYTES and header[_WRITE_VERSION_AT] == _WAL
    return _UNTOUCHED if logged and not os.path.lexists(f"{path}-wal") else _SHARED


def _opened(path: str, mode: str, deadline: float) -> sqlite3.Connection:
    busy_s = max(0.0, min(MAX_BUSY_S, (deadline - time.monotonic()) / 2))
    db = sqlite3.connect(f"file:{quote(os.fsencode(path))}?{mode}", uri=True, timeout=busy_s, isolation_level=None)
    try:
        db.text_factory = _text
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        for pragma in ("trusted_schema = off", "query_only = on", "temp_store = memory"):
            db.execute(f"pragma {pragma}")
        db.set_authorizer(_authorize)
        db.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    except BaseException:
        db.close()
        raise
    return db


def _authorize(action: int, _: str | None, name: str | None, *__: str | None) -> int:
    allowed = action in _ALLOWED and not (action == sqlite3.SQLITE_FUNCTION and name == "load_extension")
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _moved_on(before: FileRecord, path: str) -> bool:
    return regular_file.record_without_content(path) != before


@contextmanager
def _told_apart(deadline: float) -> Iterator[None]:
    """A table that is not there is a no; whatever else sqlite or the kernel refuses, it cannot tell."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if str(error).startswith(_NOT_THERE):
            raise _NotSo(str(error)) from error
        if time.monotonic() > deadline:
            raise _CannotTell("it ran as long as a proof may take") from error
        raise _CannotTell(_named(error)) from error
    except (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeError, OSError) as error:
        raise _CannotTell(_named(error)) from error


def _named(error: Exception) -> str:
    name = getattr(error, "sqlite_errorname", None)
    if name == "SQLITE_AUTH" or str(error).startswith("not authorized"):
        return "the query does more than read tables, which a proof may not"
    return f"{name}: {error}" if name else f"{type(error).__name__}: {error}"


# --- comparing ---


def _text(data: bytes) -> str | bytes:
    """Text that is no UTF-8 equals no text that could be declared."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def _compare(equals: JSON, row: list[Any]) -> None:
    wanted = equals if isinstance(equals, list) else [equals]
    if len(row) != len(wanted):
        raise _NotSo(f"a row of {len(row)} columns, {len(wanted)} are declared", {"row": _shown(row)})
    for number, (value, seen) in enumerate(zip(wanted, row, strict=True), 1):
        if type(value) is type(seen) and value == seen:
            continue
        what = "the value is not" if len(row) == 1 else f"column {number} is not"
        raise _NotSo(f"{what} the declared one{_but_for_type(value, seen)}", {"row": _shown(row), "declared": wanted})


def _but_for_type(value: JSON, seen: Any) -> str:
    if type(value) is type(seen) or isinstance(seen, bytes):
        return ""
    return f": {_TYPES.get(type(seen), 'a blob')} is there, {_TYPES.get(type(value), 'a list or table')} is declared"


_TYPES: Mapping[type, str] = {
    str: "text",
    int: "an integer",
    float: "a float",
    bool: "true or false, which sqlite does not have,",
    type(None): "null",
}


def _shown(row: list[Any]) -> list[JSON]:
    return [f"{len(value)} bytes" if isinstance(value, bytes) else value for value in row]
