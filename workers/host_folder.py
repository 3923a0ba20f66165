"""The folder of one host of async attempts: its streams, HOME, TMPDIR and working directory.

Locked while the host is watched, by a lock that ends with the supervisor: so a cleaner knows whose hosts have ended.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from proofq.workers import trees


class HostFolder:
    """Makes it. Raises OSError."""

    def __init__(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True)
        self.stdout, self.stderr = path / "stdout", path / "stderr"
        self.home, self.tmp, self.cwd = path / "home", path / "tmp", path / "cwd"
        for place in (self.home, self.tmp):
            place.mkdir(mode=0o700)
        # In which nobody writes by accident.
        self.cwd.mkdir(mode=0o500)
        self._lock = trees.open_directory(path)
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    def leave(self) -> None:
        """Its host has ended, now."""
        with suppress(OSError):
            os.utime(self._lock)
        os.close(self._lock)


def is_left(parent_fd: int, name: str) -> bool:
    """Whether a folder's host has ended. False for what is no folder."""
    try:
        descriptor = trees.open_directory(name, parent_fd)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
