"""Files to prove: a place on each file system, the proof itself, and a look by somebody without rights."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from proofq.policies.verdict import ProofResult
from proofq.workers import file_baseline, file_proof
from proofq.workers.file_baseline import FileBaseline

HOST = "here"
#: A disk and a file system in memory; both stamp files differently.
FOLDERS = [folder for folder in ("/tmp", "/dev/shm") if Path(folder).is_dir()]


@pytest.fixture(params=FOLDERS)
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty directory on each file system."""
    with TemporaryDirectory(dir=request.param) as name:
        yield Path(name)


@pytest.fixture
def target(folder: Path) -> Path:
    """A path with nothing there."""
    return folder / "out.md"


def take(target: Path) -> FileBaseline:
    before = file_baseline.take(str(target), HOST)
    await_ticks({"files": [before.to_dict()]}, HOST)
    return before


def await_ticks(record: Mapping[str, Any], host: str) -> None:
    """What an agent's process does before its agent, for a baseline's record."""
    for tick in file_baseline.ticks_of(record, host):
        file_baseline.await_tick(*tick)


def check(target: Path, before: FileBaseline | None, must_change: bool = False, **options: Any) -> ProofResult:
    result = file_proof.check({"path": str(target), **options}, before, HOST, must_change)
    json.dumps(result.to_dict(), allow_nan=False)
    return result


def as_nobody(look: Callable[[], Any]) -> Any:
    """Give what `look` sees in a process without rights over our files (our own rights where we are no root)."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
            os.write(writing, json.dumps(look()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        text = said.read()
    os.waitpid(pid, 0)
    return json.loads(text)
