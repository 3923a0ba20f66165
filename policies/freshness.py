"""The rule that tells a file this task wrote from one that was there, was touched, moved or linked in.

Times alone lie: touch, chmod, mv and ln renew a file's change time, and `cp -p` keeps its modification time.
So a file is fresh when its change time is newer than a marker made before the agent started **and** its
content is shown to be new: the file was born after the marker, or its content differs from the recorded one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

from proofq.policies.agent import JSON
from proofq.policies.fast_dataclass import fast_dataclass

#: What stands under a path. Only "file" can prove anything.
FileKind = Literal["absent", "file", "symlink", "directory", "fifo", "socket", "device", "unknown"]


@fast_dataclass(frozen=True)
class FileRecord:
    """What stood under a path at one instant. Times are ns since the epoch, by the file system's clock."""

    kind: FileKind
    dev: int = 0
    inode: int = 0
    size: int = 0
    ctime_ns: int = 0
    #: Birth time; None where the file system does not report it.
    btime_ns: int | None = None
    #: SHA-256 of the content, hexadecimal; None where it was not or could not be read.
    digest: str | None = None

    @property
    def exists(self) -> bool:
        """True where anything stood there, a directory or a link included."""
        return self.kind != "absent"

    @property
    def is_file(self) -> bool:
        """True for a regular file, the only kind that proves anything."""
        return self.kind == "file"

    def to_dict(self) -> dict[str, JSON]:
        """Give the plain JSON object that `from_dict` reads."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, JSON]) -> FileRecord:
        """Read what `to_dict` gave; unknown keys of a newer writer are left out."""
        return cls(**{key: value for key, value in data.items() if key in _FIELDS})


_FIELDS = frozenset(each.name for each in fields(FileRecord))


@fast_dataclass(frozen=True)
class Fresh:
    """This task wrote the file. `why` says by which part of the rule."""

    why: str
    #: False where the file system reports no birth times and the rule had to do without.
    birth_known: bool = True


@dataclass(frozen=True)
class NotFresh:
    """The file proves nothing about this task. `certain` is False where it cannot be told from the record."""

    reason: str
    certain: bool = True


def fresh(before: FileRecord, after: FileRecord, marker_ctime_ns: int, same_ok: bool) -> Fresh | NotFresh:
    """Judge the regular file `after` by the record `before` and the marker made before the agent started.

    With `same_ok` the newer change time alone decides: rewriting the same bytes is then enough, and so is a
    touch.
    """
    if not newer_than_marker(after, marker_ctime_ns):
        return NotFresh("not changed since before the task started: its change time is no newer than the marker")
    if same_ok:
        return Fresh("changed after the task started; same_ok leaves its content open")
    birth_known = after.btime_ns is not None
    replaced = not same_object(before, after)
    if replaced and born_before(after, marker_ctime_ns):
        return NotFresh("born before the task started: an older file moved or linked to this place")
    if not before.is_file:
        return Fresh("was not there before the task started", birth_known)
    changed = content_changed(before, after)
    if changed is None:
        return NotFresh("its earlier content could not be read, so nobody can tell whether it changed", certain=False)
    if not changed:
        return NotFresh("its content is what it was before the task started; same_ok = true would accept that")
    return Fresh("its content is not what it was before the task started", birth_known or not replaced)


def newer_than_marker(after: FileRecord, marker_ctime_ns: int) -> bool:
    """Tell whether anything happened to the file after the marker. Equal is not newer: ticks are coarse."""
    return after.ctime_ns > marker_ctime_ns


def born_before(after: FileRecord, marker_ctime_ns: int) -> bool:
    """Tell whether the file is known to be older than the marker; False where birth is not reported."""
    return after.btime_ns is not None and after.btime_ns <= marker_ctime_ns


def born_since(seen: FileRecord, since_ns: int) -> bool:
    """Tell whether it is known to be a regular file that was born later; False where birth is not reported."""
    return seen.is_file and seen.btime_ns is not None and seen.btime_ns > since_ns


def same_object(before: FileRecord, after: FileRecord) -> bool:
    """Tell whether both are the same file, not another one moved, linked or newly made in its place.

    Birth tells where it is reported, since inode numbers are used again and device numbers change over a
    reboot.
    """
    if not before.is_file or before.inode != after.inode:
        return False
    if before.btime_ns is not None and after.btime_ns is not None:
        return before.btime_ns == after.btime_ns
    return before.dev == after.dev


def content_changed(before: FileRecord, after: FileRecord) -> bool | None:
    """Tell whether the content differs; None where it was not read at one of the two instants."""
    if before.size != after.size:
        return True
    if before.digest is None or after.digest is None:
        return None
    return before.digest != after.digest
