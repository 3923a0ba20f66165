"""Looking for a path below a folder without leaving its file system and without following a link."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import Final

#: openat2(2), of Linux 5.6, for which neither Python nor older C libraries have a name.
_SYS_OPENAT2: Final = 437
#: RESOLVE_NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS and BENEATH of linux/openat2.h.
_RESOLVE: Final = 0x01 | 0x02 | 0x04 | 0x08
#: struct open_how: flags, mode and how names are resolved.
_HOW: Final = struct.pack("=QQQ", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, 0, _RESOLVE)

_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)


def find(folder: int, path: str) -> int | None:
    """What stands under a relative path, given an open folder (`O_PATH` will do): a new descriptor, by which it can be
    looked at and not read; None where it is certain that nothing stands there.

    Raises OSError where a mount or a link is in the way, and where the kernel has no such call or forbids it;
    ValueError for what is no path.
    """
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError("a path with a NUL character")
    found: int = _syscall(_SYS_OPENAT2, folder, name, _HOW, len(_HOW))
    if found >= 0:
        return found
    number = ctypes.get_errno()
    if number == errno.ENOENT:
        return None
    raise OSError(number, os.strerror(number))
