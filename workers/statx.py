"""What the kernel says of a file, birth time included, which os.stat does not give on Linux."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from typing import Any, NamedTuple

from proofq.policies.freshness import FileKind

_AT_EMPTY_PATH = 0x1000
_BASIC_STATS_AND_BTIME = 0x7FF | 0x800
_STATX_BTIME = 0x800

# The fields of struct statx that are wanted, read at the offsets that the kernel's ABI fixes.
_MASK = struct.Struct("=I")
_MODE = struct.Struct("=H")
_INO_SIZE = struct.Struct("=QQ")
_TIME = struct.Struct("=qI")
_DEVICE = struct.Struct("=II")
_MASK_AT, _MODE_AT, _INO_SIZE_AT, _BTIME_AT, _CTIME_AT, _MTIME_AT, _DEVICE_AT = 0, 28, 32, 80, 96, 112, 136
_STATX_BYTES = 256

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


def status(descriptor: int) -> Status:
    """Ask the kernel about an open file. Raises OSError."""
    if _statx is None:
        return _without_birth(os.fstat(descriptor))
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    if _statx(descriptor, b"", _AT_EMPTY_PATH, _BASIC_STATS_AND_BTIME, buffer) != 0:
        # Old kernels, seccomp filters and some FUSE servers have no statx; what fstat says they all know.
        return _without_birth(os.fstat(descriptor))
    raw = buffer.raw
    inode, size = _INO_SIZE.unpack_from(raw, _INO_SIZE_AT)
    major, minor = _DEVICE.unpack_from(raw, _DEVICE_AT)
    reported = _MASK.unpack_from(raw, _MASK_AT)[0] & _STATX_BTIME
    return Status(
        mode=_MODE.unpack_from(raw, _MODE_AT)[0],
        dev=os.makedev(major, minor),
        inode=inode,
        size=size,
        mtime_ns=_nanoseconds(raw, _MTIME_AT),
        ctime_ns=_nanoseconds(raw, _CTIME_AT),
        # A birth time of 0 is how file systems without one fill the field.
        btime_ns=(_nanoseconds(raw, _BTIME_AT) or None) if reported else None,
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
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
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


def _nanoseconds(raw: bytes, at: int) -> int:
    seconds, nanoseconds = _TIME.unpack_from(raw, at)
    return int(seconds * 1_000_000_000 + nanoseconds)


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
