"""Reading a file that somebody else wrote: never blocks on what is no regular file, never follows a link."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import Final

from proofq.policies.fast_dataclass import fast_dataclass
from proofq.policies.freshness import FileKind, FileRecord
from proofq.workers import statx

_CHUNK_BYTES = 1024 * 1024
# O_NONBLOCK: should the path turn into a FIFO or a leased file between looking and opening, opening must not
# wait.
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class BadPath(Exception):
    """No file can ever have this path: it holds a NUL, cannot be encoded, is empty, relative or too long."""


class Unreachable(Exception):
    """The file cannot be looked at from here: no permission, an I/O error, a lost mount, somebody writing."""


class Changing(Unreachable):
    """The file was written, cut or replaced while it was read."""


class TooLong(Unreachable):
    """It has more bytes than were to be read."""


@fast_dataclass(frozen=True)
class Content:
    """What was read. For anything but a regular file only `record.kind` says something."""

    record: FileRecord
    #: Whether the text looked for is in it.
    found: bool = False
    #: The bytes, where they were asked for and are within the cap; else None.
    data: bytes | None = None
    #: Whether other hosts may see the same file system.
    network: bool = False


#: What most baselines say.
ABSENT: Final = FileRecord("absent")
_NOTHING: Final = Content(ABSENT)


def read(path: str, needle: bytes = b"", keep_bytes: int = 0) -> Content:
    """Read the whole file once: its record with digest, whether `needle` is in it, and its bytes.

    The bytes are given only where there are at most `keep_bytes`.

    Raises BadPath, Unreachable, Changing. An absent file is a record of kind "absent".
    """
    try:
        opened = _open(path)
        if isinstance(opened, str):
            return _NOTHING if opened == "absent" else Content(FileRecord(opened))
        try:
            return read_open(opened, needle, keep_bytes, network=statx.on_network(opened))
        finally:
            os.close(opened)
    except OSError as error:
        raise _explained(error) from error


def record_without_content(path: str) -> FileRecord:
    """Give what stands there without reading it: a file may be seen but not read. Raises as `read`."""
    try:
        descriptor = os.open(_checked(path), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            seen = statx.status(descriptor)
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    except OSError as error:
        raise _explained(error) from error
    if seen.kind != "file":
        return FileRecord(seen.kind)
    return FileRecord(seen.kind, seen.dev, seen.inode, seen.size, seen.ctime_ns, seen.btime_ns)


def _open(path: str) -> int | FileKind:
    # Looked at before it is opened: opening a device can already act on it.
    try:
        seen = os.lstat(_checked(path))
        if not stat.S_ISREG(seen.st_mode):
            return statx.kind_of(seen.st_mode)
        return os.open(path, _OPEN)
    except (FileNotFoundError, NotADirectoryError):
        return "absent"


def read_open(
    descriptor: int, needle: bytes, keep_bytes: int, *, network: bool, most_bytes: int | None = None
) -> Content:
    """The same of a file that is open already. Raises Changing, OSError, and TooLong where it has more than
    `most_bytes` (default: any number may be read)."""
    start = statx.status(descriptor)
    if start.kind != "file":
        return Content(FileRecord(start.kind))
    if most_bytes is not None and start.size > most_bytes:
        raise TooLong(f"longer than {most_bytes} bytes")
    digest, search = hashlib.sha256(), _Search(needle)
    kept = bytearray() if 0 < start.size <= keep_bytes else None
    total = 0
    while chunk := os.read(descriptor, asked := min(_CHUNK_BYTES, start.size - total + 1)):
        total += len(chunk)
        digest.update(chunk)
        if not search.found:
            search.feed(chunk)
        if kept is not None:
            kept += chunk
        if total > start.size or (total == start.size and len(chunk) < asked):
            # All that there was, and the end was seen.
            break
    if total != start.size or _has_changed(start, os.fstat(descriptor)):
        raise Changing("the file changed while it was read")
    record = FileRecord("file", start.dev, start.inode, start.size, start.ctime_ns, start.btime_ns, digest.hexdigest())
    data = b"" if start.size == 0 else None if kept is None else bytes(kept)
    return Content(record, search.found, data, network)


def _has_changed(start: statx.Status, end: os.stat_result) -> bool:
    """By all that can change of an open file; whatever is done to it, its change time tells."""
    return (end.st_ctime_ns, end.st_mtime_ns, end.st_size, end.st_mode) != (
        start.ctime_ns,
        start.mtime_ns,
        start.size,
        start.mode,
    )


class _Search:
    """Looks for bytes in a stream, also where they lie across two chunks."""

    def __init__(self, needle: bytes) -> None:
        self._needle = needle
        self._tail = b""
        self.found = not needle

    def feed(self, chunk: bytes) -> None:
        window = self._tail + chunk
        self.found = self._needle in window
        overlap = len(self._needle) - 1
        self._tail = window[-overlap:] if overlap else b""


def _checked(path: str) -> str:
    if not path.startswith("/"):
        raise BadPath(f"not an absolute path: {path!r}" if path else "the path is empty")
    try:
        if not path.isascii():
            os.fsencode(path)
    except UnicodeEncodeError as error:
        raise BadPath(f"a path that no file can have: {error.reason}") from error
    if "\0" in path:
        raise BadPath("a path that no file can have: it holds a NUL character")
    return path


def _explained(error: OSError) -> Exception:
    name = errno.errorcode.get(error.errno or 0, "an error without a number")
    text = f"{name}: {error.strerror}"
    return BadPath(text) if error.errno == errno.ENAMETOOLONG else Unreachable(text)
