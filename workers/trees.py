"""Directory trees that strangers wrote: how much room they take, and their removal. No link is ever followed.

Everything goes by descriptors of directories, so that a name that is exchanged meanwhile leads nowhere else, and stays
on one file system. What is too deep for one go is moved up first.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

#: Directories within each other that are gone into at a time: an agent may have made thousands.
MAX_DEPTH = 40
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Spent(Exception):
    """The budget is spent; the rest is for another time."""


class Budget:
    """How many files and directories may still be touched."""

    def __init__(self, entries: int) -> None:
        self.left = entries

    def take(self) -> None:
        """One more. Raises Spent."""
        if self.left <= 0:
            raise Spent
        self.left -= 1


def open_directory(name: str | os.PathLike[str], dir_fd: int | None = None) -> int:
    """A descriptor of a directory. Raises OSError, also for a link to one."""
    return os.open(name, _DIRECTORY, dir_fd=dir_fd)


def _names(dir_fd: int) -> list[str]:
    with os.scandir(dir_fd) as found:
        return [each.name for each in found]


def room(dir_fd: int, name: str, budget: Budget, depth: int = 0) -> int:
    """Bytes that a file or a tree takes on disk; what cannot be looked at counts as nothing. Raises Spent."""
    budget.take()
    try:
        info = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        taken = info.st_blocks * 512
        if not stat.S_ISDIR(info.st_mode) or depth >= MAX_DEPTH:
            return taken
        fd = open_directory(name, dir_fd)
    except OSError:
        return 0
    try:
        if os.fstat(fd).st_dev == os.fstat(dir_fd).st_dev:
            taken += sum(room(fd, each, budget, depth + 1) for each in _names(fd))
        return taken
    finally:
        os.close(fd)


class Remover:
    """Removes what stands in the directory `trash_fd`; `token` makes new names in it."""

    def __init__(self, trash_fd: int, token: Callable[[], str], budget: Budget) -> None:
        self._trash_fd = trash_fd
        self._device = os.fstat(trash_fd).st_dev
        self._token = token
        self._budget = budget

    def empty(self) -> list[OSError]:
        """Remove everything in the trash; what would not go, by its error. Raises Spent."""
        problems: list[OSError] = []
        # What was too deep comes up as another entry.
        while len(names := _names(self._trash_fd)) > len(problems):
            problems = []
            for name in names:
                try:
                    self._remove(self._trash_fd, name, 0)
                except OSError as problem:
                    problems.append(problem)
        return problems

    def _remove(self, dir_fd: int, name: str, depth: int) -> None:
        self._budget.take()
        if not stat.S_ISDIR(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=dir_fd)
            return
        if depth >= MAX_DEPTH:
            os.rename(name, self._token(), src_dir_fd=dir_fd, dst_dir_fd=self._trash_fd)
            return
        fd = self._entered(dir_fd, name)
        try:
            for each in _names(fd):
                self._remove(fd, each, depth + 1)
        finally:
            os.close(fd)
        os.rmdir(name, dir_fd=dir_fd)

    def _entered(self, dir_fd: int, name: str) -> int:
        """A descriptor of a directory that may be emptied, whatever mode an agent gave it."""
        handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            if os.fstat(handle).st_dev != self._device:
                raise OSError(f"{name} is another file system, which is not emptied")
            Path(f"/proc/self/fd/{handle}").chmod(0o700)
        finally:
            os.close(handle)
        return open_directory(name, dir_fd)
