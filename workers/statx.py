"""What the kernel says of a file, birth time included, which os.stat does not give on Linux."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from typing import Any, NamedTuple

from proofq.policies.freshness import FileKind

_AT_EMPTY_PATH = 0x1000
_AT_STATX_DONT_SYNC = 0x4000
_BASIC_STATS_AND_BTIME = 0x7FF | 0x800
_STATX_BTIME = 0x800
_PER_S = 1_000_000_000

# The fields of struct statx that are wanted, at the offsets that the kernel's ABI fixes: mask, mode, inode, size, and
# birth, change and modification time as seconds and nanoseconds, and the device.
_FIELDS = struct.Struct("=I 24x H 2x QQ 32x qI 4x qI 4x qI 12x II")
_STATX_INO = 0x100
#: The inode and the device alone.
_OBJECT = struct.Struct("=32x Q 96x II")
_STATX_BYTES = 256
_Buffer = ctypes.c_char * _STATX_BYTES

#: File systems whose files another host may see too, by the magic number of statfs(2). FUSE is left out: it
#: may be either, and a proof then rather cannot tell.
_NETWORK_FILE_SYSTEMS = frozenset(
    {
        0x6969,  # nfs
        0xFF534D42,  # cifs
        0xFE534D42,  # smb2
        0x517B,  # smb
        0x01021997,  # 9p
        0x00C36400,  # ceph
        0x0BD00BD0,  # lustre
        0x47504653,  # gpfs
        0x5346414F,  # afs
        0x6B414653,  # kafs
        0x7461636F,  # ocfs2
        0x01161970,  # gfs2
        0x19830326,  # beegfs
    }
)


_FUSE = 0x65735546


class Status(NamedTuple):
    """Status of an open file. Times are ns since the epoch; `btime_ns` None: birth is not reported."""

    mode: int
    dev: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    btime_ns: int | None

    @property
    def kind(self) -> FileKind:
        """What sort of thing it is."""
        return kind_of(self.mode)


class Object(NamedTuple):
    """Whatever it is that stands there, among all that live on this host at the same time."""

    inode: int
    major: int
    minor: int

    @property
    def device(self) -> int:
        return os.makedev(self.major, self.minor)


def status(descriptor: int) -> Status:
    """Ask the kernel about an open file. Raises OSError."""
    # Old kernels, seccomp filters and some FUSE servers have no statx; what fstat says they all know.
    return _status(descriptor) or _without_birth(os.fstat(descriptor))


def remembered(descriptor: int) -> Object:
    """Which one an open file is, by what the kernel remembers: no server or daemon is asked and waited for.

    Raises OSError, also where the kernel has no such call or forbids it.
    """
    buffer = _Buffer()
    if _statx is None or _statx(descriptor, b"", _AT_EMPTY_PATH | _AT_STATX_DONT_SYNC, _STATX_INO, buffer) != 0:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return Object(*_OBJECT.unpack_from(buffer))


def _status(descriptor: int) -> Status | None:
    buffer = _Buffer()
    if _statx is None or _statx(descriptor, b"", _AT_EMPTY_PATH, _BASIC_STATS_AND_BTIME, buffer) != 0:
        return None
    mask, mode, inode, size, born_s, born_ns, changed_s, changed_ns, modified_s, modified_ns, major, minor = (
        _FIELDS.unpack_from(buffer)
    )
    # A birth time of 0 is how file systems without one fill the field.
    birth_ns = born_s * _PER_S + born_ns if mask & _STATX_BTIME else 0
    return Status(
        mode,
        os.makedev(major, minor),
        inode,
        size,
        modified_s * _PER_S + modified_ns,
        changed_s * _PER_S + changed_ns,
        birth_ns or None,
    )


def of_path(path: str) -> os.stat_result:
    """What stat(2) says, links followed. Raises OSError."""
    return os.stat(path)  # noqa: PTH116 - a Path takes several times as long as the call


def kind_of(mode: int) -> FileKind:
    """Name what a mode of stat(2) stands for."""
    return _KINDS.get(stat.S_IFMT(mode), "unknown")


def on_network(where: int | str) -> bool:
    """Tell whether other hosts may see the file system of an open file or a path; False where it cannot be told."""
    return _magic_number(where) in _NETWORK_FILE_SYSTEMS


def on_fuse(where: int | str) -> bool:
    """Tell whether a daemon serves the file system; False where it cannot be told."""
    return _magic_number(where) == _FUSE


def _magic_number(where: int | str) -> int | None:
    if _fstatfs is None:
        return None
    buffer = _Buffer()
    failed = _statfs(os.fsencode(where), buffer) if isinstance(where, str) else _fstatfs(where, buffer)
    return None if failed else int(ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF)


_KINDS: dict[int, FileKind] = {
    stat.S_IFREG: "file",
    stat.S_IFLNK: "symlink",
    stat.S_IFDIR: "directory",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def _without_birth(seen: os.stat_result) -> Status:
    return Status(
        seen.st_mode,
        seen.st_dev,
        seen.st_ino,
        seen.st_size,
        seen.st_mtime_ns,
        seen.st_ctime_ns,
        btime_ns=None,
    )


def _find(name: str) -> Any:
    return getattr(ctypes.CDLL(None, use_errno=True), name, None)


_statx = _find("statx")
_statfs, _fstatfs = _find("statfs"), _find("fstatfs")
