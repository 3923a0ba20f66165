"""Folders of local file systems, in which the supervisor may look by itself at what is plain to see.

A file system that hangs keeps whoever looks at it, and cannot be told beforehand. So a verifier, which may be killed,
looks first: for a minute after it has come back from a folder that the kernel of this host stamps, what stands on its
file system is looked for here. Nobody leaves that on the way, follows a link or reads more than a small file; whatever
is not that plain is the verifier's again. Nor is anybody else waited for on the way to that folder, where an agent may
have put a link or a mount of its own since.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from typing import Final, NamedTuple

from proofq.workers import beneath, file_baseline, regular_file, statx
from proofq.workers.clock import latest_stamp_ns
from proofq.workers.file_baseline import FileBaseline
from proofq.workers.regular_file import Content, Unreachable
from proofq.workers.statx import Object

#: Most bytes that are read of a file here.
MAX_BYTES: Final = 64 * 1024
#: Seconds for which a folder is known: by then something else may be mounted there.
_KNOWN_S: Final = 60.0
#: Folders known at once: nearly always there is one per file system.
_MOST: Final = 64
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class _Folder(NamedTuple):
    """Not kept open: nobody could unmount its file system."""

    name: str
    prefix: str
    seen: Object
    until_s: float


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
        with suppress(_Unknown, OSError, ValueError):
            if self._reaches(folder):
                return
            top = _top_of(folder, device)
            seen = _seen(top)
            if seen.device == device:
                known = [one for one in self._folders if one.until_s > now_s][-_MOST + 1 :]
                known.append(_Folder(top, top if top == "/" else f"{top}/", seen, now_s + _KNOWN_S))
                self._folders = tuple(sorted(known, key=lambda one: len(one.name), reverse=True))

    def without(self, path: str, host: str) -> FileBaseline | None:
        """The baseline of a path under which nothing stands; None where a verifier must say."""
        with suppress(_Unknown, OSError, ValueError), self._above(path) as (at, below, folder):
            marker_ns = latest_stamp_ns()
            found = beneath.find(at, below)
            if found is None:
                return file_baseline.absent(path, host, marker_ns, folder.name, folder.seen.device)
            os.close(found)
        return None

    def read(self, path: str, needle: bytes) -> Content | None:
        """As `regular_file.read`, of a small file that nobody is writing; None where a verifier must say."""
        with suppress(_Unknown, OSError, ValueError, Unreachable), self._above(path) as (at, below, _):
            # Who wrote it has just been there.
            found = beneath.find(at, below, remembered=True)
            if found is not None:
                try:
                    return _read_found(found, needle)
                finally:
                    os.close(found)
        return None

    def _reaches(self, folder: str) -> bool:
        with suppress(_Unknown, OSError), self._above(f"{folder.rstrip('/')}/.") as (at, below, _):
            return _leads_to(at, below)
        return False

    def _above(self, path: str) -> _Opened:
        """The nearest known folder that the path is in, open for as long as it is used, with what is below it."""
        now_s = time.monotonic()
        for one in self._folders:
            if path.startswith(one.prefix) and one.until_s > now_s:
                return _Opened(self._checked(one), path[len(one.prefix) :], one)
        raise _Unknown

    def _checked(self, one: _Folder) -> int:
        if one.name == "/":
            # Nobody can put anything in its place.
            return os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        opened = _open(one.name)
        try:
            if statx.remembered(opened) == one.seen:
                return opened
        except OSError:
            pass
        os.close(opened)
        self._folders = tuple(each for each in self._folders if each is not one)
        raise _Unknown


class _Opened:
    def __init__(self, descriptor: int, below: str, folder: _Folder) -> None:
        self._said = descriptor, below, folder

    def __enter__(self) -> tuple[int, str, _Folder]:
        return self._said

    def __exit__(self, *_: object) -> None:
        os.close(self._said[0])


def _read_found(found: int, needle: bytes) -> Content | None:
    if not stat.S_ISREG(os.fstat(found).st_mode):
        return None
    # The very file that was found, whatever stands under its name by now.
    file = os.open(f"/proc/self/fd/{found}", _READ)
    try:
        return regular_file.read_open(file, needle, 0, network=False, most_bytes=MAX_BYTES)
    finally:
        os.close(file)


def _top_of(folder: str, device: int) -> str:
    """The highest folder above this one from which it is reached without leaving the file system."""
    top = above = folder
    with suppress(OSError):
        while _seen(above).device == device:
            top = above
            if top == "/":
                break
            above = top.rpartition("/")[0] or "/"
        opened = _open(top)
        try:
            if _leads_to(opened, f"{folder[len(top.rstrip('/')) + 1 :] or '.'}/."):
                return top
        finally:
            os.close(opened)
    return folder


def _leads_to(opened: int, below: str) -> bool:
    """Whether a folder is found from one above it, and is no link. Raises OSError where it is not."""
    found = beneath.find(opened, below)
    if found is not None:
        os.close(found)
    return found is not None


def _seen(folder: str) -> Object:
    opened = _open(folder)
    try:
        return statx.remembered(opened)
    finally:
        os.close(opened)


def _open(folder: str) -> int:
    opened = beneath.folder(folder)
    if opened is None:
        raise FileNotFoundError(folder)
    return opened
