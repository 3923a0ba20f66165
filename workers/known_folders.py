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
from contextlib import suppress
from typing import Final

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


class _Folder:
    """One that stays open as long as somebody has it."""

    def __init__(self, name: str, device: int, until_s: float) -> None:
        """Raises OSError, and `_Unknown` where it is on another device."""
        self.name = name
        self.prefix = name if name == "/" else f"{name}/"
        self.until_s = until_s
        self.descriptor = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        seen = os.fstat(self.descriptor)
        if seen.st_dev != device:
            raise _Unknown
        self.device, self.inode = seen.st_dev, seen.st_ino

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)

    def find(self, path: str) -> int | None:
        """As `beneath.find`, of an absolute path in it."""
        return beneath.find(self.descriptor, path[len(self.prefix) :] or ".")


class _Unknown(Exception):
    """Nobody has been there lately, or it is not the folder any more that it was."""


class KnownFolders:
    """Thread-safe; raises nothing. Paths are absolute."""

    def __init__(self) -> None:
        #: Never changed but replaced, since any thread goes through it. The deepest come first.
        self._folders: tuple[_Folder, ...] = ()

    def learn(self, folder: str, device: int) -> None:
        """A verifier has just seen that the kernel stamps what is made in a folder of this device."""
        now_s = time.monotonic()
        known = [one for one in self._folders if one.until_s > now_s]
        if any(f"{folder}/".startswith(one.prefix) and one.device == device for one in known):
            return
        with suppress(_Unknown, OSError, ValueError):
            known.append(_Folder(_top_of(folder, device), device, now_s + _KNOWN_S))
            self._folders = tuple(sorted(known[-_MOST:], key=lambda one: len(one.name), reverse=True))

    def without(self, path: str, host: str) -> FileBaseline | None:
        """The baseline of a path under which nothing stands; None where a verifier must say."""
        try:
            folder = self._above(path)
            marker_ns = latest_stamp_ns()
            found = folder.find(path)
        except (_Unknown, OSError, ValueError):
            return None
        if found is None:
            return file_baseline.absent(path, host, marker_ns, folder.name, folder.device)
        os.close(found)
        return None

    def read(self, path: str, needle: bytes) -> Content | None:
        """As `regular_file.read`, of a small file that nobody is writing; None where a verifier must say."""
        try:
            found = self._above(path).find(path)
            if found is None:
                return None
            try:
                return _read_found(found, needle)
            finally:
                os.close(found)
        except (_Unknown, OSError, ValueError, Changing):
            return None

    def _above(self, path: str) -> _Folder:
        """The nearest known folder that the path is in."""
        now_s = time.monotonic()
        for one in self._folders:
            if path.startswith(one.prefix) and one.until_s > now_s:
                seen = statx.of_path(one.name)
                if (seen.st_dev, seen.st_ino) == (one.device, one.inode):
                    return one
                self._folders = tuple(each for each in self._folders if each is not one)
                break
        raise _Unknown


def _read_found(found: int, needle: bytes) -> Content | None:
    seen = os.fstat(found)
    if not stat.S_ISREG(seen.st_mode) or seen.st_size > MAX_BYTES:
        return None
    # The very file that was found, whatever stands under its name by now.
    file = os.open(f"/proc/self/fd/{found}", _READ)
    try:
        return regular_file.read_open(file, needle, 0, network=False)
    finally:
        os.close(file)


def _top_of(folder: str, device: int) -> str:
    """The highest folder above this one from which it is reached without leaving the file system."""
    top = above = folder
    while statx.of_path(above).st_dev == device:
        top = above
        if top == "/":
            break
        above = top.rpartition("/")[0] or "/"
    with suppress(_Unknown, OSError):
        found = _Folder(top, device, 0.0).find(folder)
        if found is not None:
            os.close(found)
            return top
    return folder
