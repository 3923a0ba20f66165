"""Folders of local file systems, in which the supervisor may look by itself at what is plain to see.

A file system that hangs keeps whoever looks at it, and cannot be told beforehand. So a verifier, which may be killed,
looks first: for a minute after it has come back from a folder that the kernel of this host stamps, what stands on its
file system is looked for here. Nobody leaves that on the way, follows a link or reads more than a small file; whatever
is not that plain is the verifier's again.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from proofq.workers import beneath, file_baseline, regular_file, statx
from proofq.workers.clock import latest_stamp_ns
from proofq.workers.file_baseline import FileBaseline
from proofq.workers.regular_file import Changing, Content

#: Most bytes that are read of a file here.
MAX_BYTES: Final = 64 * 1024
#: Seconds for which a folder is known: by then something else may be mounted there.
_KNOWN_S: Final = 60.0
#: Folders known at once: nearly always there is one per file system.
_MOST: Final = 64
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class _Folder(NamedTuple):
    device: int
    inode: int
    until_s: float


class _Unknown(Exception):
    """Nobody has been there lately, or it is not the folder any more that it was."""


class KnownFolders:
    """Thread-safe; raises nothing. Paths are absolute."""

    def __init__(self) -> None:
        self._folders: dict[str, _Folder] = {}

    def learn(self, folder: str, device: int) -> None:
        """A verifier has just seen that the kernel stamps what is made in a folder of this device."""
        now_s = time.monotonic()
        with suppress(OSError, ValueError):
            if any(self._known(name, now_s) for name in _upwards(folder)):
                return
            top = _top_of(folder, device)
            seen = statx.of_path(top)
            if len(self._folders) >= _MOST:
                self._folders.clear()
            if seen.st_dev == device:
                self._folders[top] = _Folder(device, seen.st_ino, now_s + _KNOWN_S)

    def without(self, path: str, host: str) -> FileBaseline | None:
        """The baseline of a path under which nothing stands; None where a verifier must say."""
        with suppress(_Unknown, OSError, ValueError), self._above(path) as (folder, name, device):
            marker_ns = latest_stamp_ns()
            found = beneath.find(folder, _below(name, path))
            if found is None:
                return file_baseline.absent(path, host, marker_ns, name, device)
            os.close(found)
        return None

    def read(self, path: str, needle: bytes) -> Content | None:
        """As `regular_file.read`, of a small file that nobody is writing; None where a verifier must say."""
        with suppress(_Unknown, OSError, ValueError, Changing), self._above(path) as (folder, name, _):
            found = beneath.find(folder, _below(name, path))
            if found is None:
                return None
            with _closing(found):
                seen = os.fstat(found)
                if not stat.S_ISREG(seen.st_mode) or seen.st_size > MAX_BYTES:
                    return None
                # The very file that was found, whatever stands under its name by now.
                with _closing(os.open(f"/proc/self/fd/{found}", _READ)) as file:
                    return regular_file.read_open(file, needle, 0, network=False)
        return None

    @contextmanager
    def _above(self, path: str) -> Iterator[tuple[int, str, int]]:
        """The nearest known folder that the path is in: open, its name, and its device."""
        now_s = time.monotonic()
        name = next((name for name in _upwards(path) if self._known(name, now_s)), "")
        known = self._folders.get(name)
        if known is None:
            raise _Unknown
        with _closing(os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as folder:
            seen = os.fstat(folder)
            if (seen.st_dev, seen.st_ino) != (known.device, known.inode):
                self._folders.pop(name, None)
                raise _Unknown
            yield folder, name, known.device

    def _known(self, name: str, now_s: float) -> bool:
        known = self._folders.get(name)
        return known is not None and known.until_s > now_s


def _upwards(path: str) -> Iterator[str]:
    """Yield an absolute path, and all that is above it."""
    while True:
        yield path
        if path == "/":
            return
        path = path.rpartition("/")[0] or "/"


def _below(folder: str, path: str) -> str:
    """What of a path is below a folder above it; the folder itself is `.`."""
    return path[len(folder.rstrip("/")) + 1 :] or "."


def _top_of(folder: str, device: int) -> str:
    """The highest folder above this one from which it is reached without leaving the file system."""
    top = folder
    for above in _upwards(folder):
        if statx.of_path(above).st_dev != device:
            break
        top = above
    with suppress(OSError), _closing(os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as opened:
        found = beneath.find(opened, _below(top, folder))
        if found is not None:
            os.close(found)
            return top
    return folder


@contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)
