"""The unix socket of the embedded Redis: where it is, and whether somebody answers there."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from proofq.workers.errors import RedisUnavailable

#: Bytes of a unix socket's path: the kernel's limit, without the closing zero.
_LONGEST_PATH = 107


def socket_path(directory: tuple[int, int], environ: Mapping[str, str]) -> str:
    """Where the server of this data directory (device, inode) listens.

    A short path in a directory that only this user can enter: `$XDG_RUNTIME_DIR/proofq`, else one in /tmp.
    Raises RedisUnavailable when there is no such place.
    """
    name = "{:x}-{:x}.sock".format(*directory)
    places = [Path(environ["XDG_RUNTIME_DIR"]) / "proofq"] if environ.get("XDG_RUNTIME_DIR") else []
    places.append(Path(f"/tmp/proofq-{os.getuid()}"))  # noqa: S108 - refused below unless it is ours alone
    refused = []
    for place in places:
        path = str(place / name)
        if len(os.fsencode(path)) > _LONGEST_PATH:
            refused.append(f"{place} is too long a path")
        elif not _private(place):
            refused.append(f"{place} cannot be made, or is not this user's alone")
        else:
            return path
    raise RedisUnavailable(
        f"No place for the socket of the embedded Redis: {'; '.join(refused)}. "
        "Set XDG_RUNTIME_DIR to a short directory of yours."
    )


def _private(place: Path) -> bool:
    """Make the directory if needed; whether it is a real one, ours, and closed to everybody else."""
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        found = place.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def ask(path: str) -> str | None:
    """PING without a client: `ready`, `loading`, or None when nothing answers within a second."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
            asked.settimeout(1.0)
            asked.connect(path)
            asked.sendall(b"PING\r\n")
            said = asked.recv(64)
    except OSError:
        return None
    if said.startswith(b"+PONG"):
        return "ready"
    return "loading" if said.startswith(b"-LOADING") else None


def url(path: str) -> str:
    """The Redis URL of a socket."""
    return f"unix://{quote(path)}"
