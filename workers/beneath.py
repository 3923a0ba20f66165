"""Looking for a path below a folder without leaving its file system, following a link or waiting for anybody else.

Whatever is mounted on the way, a network's file system or one that a daemon mounts once somebody comes by, can keep who
enters it for good. So what leads to a place is found in the kernel's memory or name by name, since the last name of a
path is looked at and not entered.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from contextlib import suppress
from typing import Final

#: openat2(2), of Linux 5.6, for which neither Python nor older C libraries have a name.
_SYS_OPENAT2: Final = 437
_AT_FDCWD: Final = -100
#: RESOLVE_NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS and BENEATH of linux/openat2.h.
_BENEATH: Final = 0x01 | 0x02 | 0x04 | 0x08
#: RESOLVE_CACHED, of Linux 5.12: nothing but what the kernel remembers, EAGAIN where it must ask.
_CACHED: Final = 0x20


def _how(flags: int, resolve: int) -> bytes:
    """Give struct open_how: flags, mode and how names are resolved."""
    return struct.pack("=QQQ", flags | os.O_PATH | os.O_CLOEXEC, 0, resolve)


_FOLDER: Final = _how(0, _CACHED)
_ABOVE: Final = _how(os.O_NOFOLLOW, _BENEATH | _CACHED)
_LAST: Final = _how(os.O_NOFOLLOW, _BENEATH)

_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)


def folder(path: str) -> int | None:
    """What stands under an absolute path that somebody has been at lately, links followed; else as `find`.

    Raises OSError also where the kernel does not remember it."""
    return _found(_AT_FDCWD, os.fsencode(path), _FOLDER)


def find(folder: int, path: str, *, remembered: bool = False) -> int | None:
    """What stands under a relative path, given an open folder (`O_PATH` will do): a new descriptor, by which it can be
    looked at and not read; None where it is certain that nothing stands there. `remembered`: the kernel most likely
    remembers it (default: it may have to look).

    Raises OSError where a mount or a link is in the way, and where the kernel has no such call or forbids it;
    ValueError for what is no path.
    """
    name = os.fsencode(path)
    if remembered:
        with suppress(BlockingIOError):
            return _found(folder, name, _ABOVE)
    above, _, last = name.rpartition(b"/")
    if not above:
        return _found(folder, last, _LAST)
    at = _above(folder, above)
    if at is None:
        return None
    try:
        return _found(at, last, _LAST)
    finally:
        os.close(at)


def _above(folder: int, path: bytes) -> int | None:
    try:
        return _found(folder, path, _ABOVE)
    except BlockingIOError:
        at: int | None = os.dup(folder)
    for name in path.split(b"/"):
        if at is None:
            break
        try:
            below = _found(at, name, _LAST)
        finally:
            os.close(at)
        at = below
    return at


def _found(folder: int, path: bytes, how: bytes) -> int | None:
    if b"\0" in path:
        raise ValueError("a path with a NUL character")
    found: int = _syscall(_SYS_OPENAT2, folder, path, how, len(how))
    if found >= 0:
        return found
    number = ctypes.get_errno()
    if number == errno.ENOENT:
        return None
    raise OSError(number, os.strerror(number))
