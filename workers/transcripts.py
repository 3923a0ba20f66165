"""The transcript files of an agent program: how they look, to see that they grow, and how the newest ends."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final

from proofq.policies.stall import Transcripts

#: Names that are looked at for one pattern, folders included; what stands beyond them is not seen.
MAX_NAMES: Final = 5000
#: Bytes of a transcript that are read.
END_BYTES: Final = 256 * 1024
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def look(home: str, patterns: Sequence[str]) -> Transcripts:
    """The regular files below `home` that fit one of the globs (relative, like "logs/*/*.jsonl"; no `**`).

    Never raises, opens no file and follows no link: what the agent puts there cannot lead out of `home` or block.
    """
    found: set[tuple[str, int, int]] = set()
    for pattern in patterns:
        left = [MAX_NAMES]
        for folder in _opened(home, None):
            found.update(_files(folder, "", pattern.split("/"), left))
    return frozenset(found)


def newest_end(home: str, patterns: Sequence[str], before: Transcripts = frozenset()) -> bytes:
    """The last 256 KiB of the file that was written last, of those that are not as they were `before`.

    b"" where there is none or it cannot be read.
    """
    name = max(look(home, patterns) - before, key=lambda one: one[2], default=("",))[0]
    if not name:
        return b""
    try:
        opened = os.open(f"{home}/{name}", _FILE)
    except OSError:
        return b""
    try:
        told = os.fstat(opened)
        return os.pread(opened, END_BYTES, max(0, told.st_size - END_BYTES)) if stat.S_ISREG(told.st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(opened)


def _files(folder: int, prefix: str, parts: Sequence[str], left: list[int]) -> Iterator[tuple[str, int, int]]:
    """What fits `parts` below the open `folder`; `left` counts down the names that may still be looked at."""
    for name in _names(folder, parts[0]):
        left[0] -= 1
        if left[0] < 0:
            return
        if not fnmatchcase(name, parts[0]):
            continue
        if len(parts) > 1:
            for below in _opened(name, folder):
                yield from _files(below, f"{prefix}{name}/", parts[1:], left)
            continue
        try:
            told = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            continue
        if stat.S_ISREG(told.st_mode):
            yield prefix + name, told.st_size, told.st_mtime_ns


def _names(folder: int, part: str) -> list[str]:
    """The names in `folder` that `part` could fit; one without wildcards need not be looked for."""
    if not any(each in part for each in "*?["):
        return [part]
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _opened(name: str, beside: int | None) -> Iterator[int]:
    """The folder of this name, open for as long as the caller looks into it; nothing where there is none."""
    try:
        folder = os.open(name, _FOLDER, dir_fd=beside)
    except OSError:
        return
    try:
        yield folder
    finally:
        os.close(folder)
