"""The file proof on real file systems: what proves, what does not, and what cannot be told."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proofq.workers import file_baseline, file_proof, regular_file, statx
from proofq.workers.kernel_clock import KernelClock
from tests.files import as_nobody, check, folder, take, target

__all__ = ["folder", "target"]

# A process that forks to give up its rights; what it runs afterwards takes no locks.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")


# --- content ---


def test_a_file_written_after_the_marker_is_proven(target: Path) -> None:
    """The first write after the baseline counts, and the evidence says what was seen."""
    before = take(target)
    target.write_text("hello")
    result = check(target, before, min_bytes=5, contains="ell", sha256=hashlib.sha256(b"hello").hexdigest().upper())
    assert result.outcome == "verified"
    assert result.evidence["size"] == 5
    assert result.evidence["sha256"] == hashlib.sha256(b"hello").hexdigest()
    assert result.evidence["fresh"] == "was not there before the task started"


@pytest.mark.parametrize(
    ("content", "options", "reason"),
    [
        (b"", {"min_bytes": 1}, "0 bytes"),
        (b"abc", {"min_bytes": 4}, "3 bytes"),
        (b"hell0", {"contains": "hello"}, "declared text"),
        ("café".encode("latin-1"), {"contains": "café"}, "declared text"),
        (b"abc", {"sha256": "0" * 64}, "SHA-256"),
        (b"", {"json_schema": {}}, "not strict JSON"),
        (b'{"a":1} {"a":2}', {"json_schema": {"type": "object"}}, "not strict JSON"),
        (b'{"a":"x"}', {"json_schema": {"properties": {"a": {"type": "integer"}}}}, "json_schema: at a"),
    ],
)
def test_content_that_is_not_as_declared(target: Path, content: bytes, options: dict[str, Any], reason: str) -> None:
    """Each option refuses what it is there to refuse, and says so."""
    before = take(target)
    target.write_bytes(content)
    result = check(target, before, **options)
    assert result.outcome == "unverified"
    assert reason in result.reason


def test_text_is_found_across_chunks(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text may lie across the borders of what is read at once."""
    monkeypatch.setattr(regular_file, "_CHUNK_BYTES", 3)
    before = take(target)
    target.write_text("xxneedleyy")
    assert check(target, before, contains="needle").outcome == "verified"
    assert check(target, before, contains="needles").outcome == "unverified"


def test_a_large_file_is_streamed(folder: Path) -> None:
    """64 MiB are searched and digested without being held in memory."""
    target = folder / "large"
    before = take(target)
    with target.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
        file.seek(0, os.SEEK_END)
        file.write(b"the end")
    result = check(target, before, contains="the end", min_bytes=64 * 1024 * 1024)
    assert result.outcome == "verified"
    with target.open("rb") as file:
        assert result.evidence["sha256"] == hashlib.file_digest(file, "sha256").hexdigest()


def test_json_over_the_cap_cannot_be_told(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a JSON file longer than what is read fits its schema is not known, which is not the same as no."""
    monkeypatch.setattr(file_proof, "MAX_BYTES", 10)
    before = take(target)
    target.write_text(json.dumps({"a": "x" * 20}))
    assert check(target, before, json_schema={}).outcome == "cannot_tell"


@pytest.mark.parametrize(
    "schema",
    ["a.schema.json", {"type": "no such type"}, {"$ref": "https://example.com/x"}, {"$ref": "#/$defs/none"}],
)
def test_a_schema_of_no_use_cannot_tell(target: Path, schema: Any) -> None:
    """A schema that cannot be applied, or would have to be fetched, says nothing about the file."""
    before = take(target)
    target.write_text("{}")
    assert check(target, before, json_schema=schema).outcome == "cannot_tell"


# --- what is no regular file ---


def _link_to_a_file(path: Path) -> None:
    real = path.with_name("real")
    real.write_text("hello")
    path.symlink_to(real)


def _listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


NO_FILES: dict[str, Callable[[Path], Any]] = {
    "symlink": _link_to_a_file,
    "directory": Path.mkdir,
    "fifo": os.mkfifo,
    "socket": _listen,
}


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.timeout(10)
def test_only_a_regular_file_proves(target: Path, kind: str) -> None:
    """A link, directory, FIFO or socket proves nothing, and looking at it does not wait."""
    before = take(target)
    NO_FILES[kind](target)
    result = check(target, before, same_ok=True)
    assert result.outcome == "unverified"
    assert kind in result.reason


def test_a_device_proves_nothing() -> None:
    """/dev/zero is neither opened nor read."""
    result = file_proof.holds({"path": "/dev/zero", "min_bytes": 1})
    assert result.outcome == "unverified"
    assert "device" in result.reason


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_was_no_file_may_become_one(target: Path, kind: str) -> None:
    """Where a link or directory stood before, a new file is this task's work."""
    NO_FILES[kind](target)
    before = take(target)
    target.rmdir() if kind == "directory" else target.unlink()
    target.write_text("hello")
    assert check(target, before).outcome == "verified"


# --- freshness ---


def test_nothing_there_is_unverified(target: Path) -> None:
    """A missing file, or one in a directory that never was, is a plain no."""
    assert check(target, take(target)).reason == "there is no file"
    deep = target / "a" / "b"
    assert check(deep, take(deep)).outcome == "unverified"
    below_a_file = target / "x"
    before = take(below_a_file)
    target.write_text("a file, not a directory")
    assert check(below_a_file, before).outcome == "unverified"


def test_directories_may_be_made_by_the_agent(folder: Path) -> None:
    """The marker is taken in the nearest directory there is."""
    target = folder / "a" / "b" / "c.txt"
    before = take(target)
    target.parent.mkdir(parents=True)
    target.write_text("hello")
    assert check(target, before).outcome == "verified"


def test_must_change_wants_other_content_whatever_same_ok_says(target: Path) -> None:
    """Rewriting the same bytes is fresh under same_ok, and not a change."""
    target.write_text("hello")
    before = take(target)
    target.write_text("hello")
    assert check(target, before, same_ok=True).outcome == "verified"
    changed = check(target, before, same_ok=True, must_change=True)
    assert changed.outcome == "unverified"
    assert "must_change" in changed.reason
    target.write_text("hello!")
    assert check(target, before, same_ok=True, must_change=True).outcome == "verified"


def test_a_parent_swapped_for_an_older_directory_proves_nothing(folder: Path) -> None:
    """An old directory moved or linked to where the target's should be brings no fresh file."""
    attic = folder / "attic"
    attic.mkdir()
    (attic / "out.md").write_text("hello")
    target = folder / "results" / "out.md"
    before = take(target)
    attic.rename(target.parent)
    assert check(target, before).outcome == "unverified"
    target.parent.rename(attic)
    target.parent.symlink_to(attic)
    target.touch()
    assert check(target, before).outcome == "unverified"


def test_every_first_write_is_newer_than_its_marker(folder: Path) -> None:
    """200 files written at once after their baselines: each one is fresh."""
    for number in range(200):
        target = folder / str(number)
        before = take(target)
        target.write_text("x")
        assert check(target, before).outcome == "verified", number


def test_no_last_write_is_newer_than_the_marker_after_it(folder: Path) -> None:
    """200 files written right before their baselines, each seen at once, which refines its stamps: none is fresh."""
    target = folder / "out"
    for number in range(200):
        target.write_text(f"{number}")
        target.stat()
        target.write_text(f"x{number}")
        before = take(target)
        assert check(target, before, same_ok=True).outcome == "unverified", number


def test_nothing_is_left_behind(folder: Path) -> None:
    """Neither marker nor probes stay, nor do open descriptors but one file in memory that is made with the first."""
    take(folder / "out")
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    before = take(folder / "out")
    check(folder / "out", before)
    assert list(folder.iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_file_systems_without_nameless_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that has a name for an instant does as well."""

    def unsupported(directory: str) -> int:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(file_baseline, "_nameless_file", unsupported)
    monkeypatch.setattr(file_baseline, "_kernel_clock", KernelClock())
    target = folder / "out"
    before = take(target)
    assert before.marker == "file system"
    assert list(folder.iterdir()) == []
    target.write_text("hello")
    assert check(target, before).outcome == "verified"


def test_where_nothing_can_be_made_the_host_gives_the_marker(folder: Path) -> None:
    """A file that may be written where none may be made is proven by the host's clock, which is said."""
    target = folder / "closed" / "out"
    target.parent.mkdir()
    target.write_text("old")
    target.chmod(0o666)
    target.parent.chmod(0o555)
    folder.chmod(0o555)

    def look() -> list[Any]:
        # Both /tmp and /dev/shm are open to all: without them there is no place on the file system.
        own = list(file_baseline._ancestors(str(target)))[:2]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(file_baseline, "_ancestors", lambda path: iter(own))
            patch.setattr(file_baseline, "_kernel_clock", KernelClock())
            before = take(target)
        stale = check(target, before)
        target.write_text("new")
        fresh = check(target, before)
        return [before.marker, stale.outcome, fresh.outcome, "marker" in fresh.evidence]

    assert as_nobody(look) == ["host", "unverified", "verified", True]


def test_file_systems_without_birth_times(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without statx the rule does without birth, and the evidence says so."""
    monkeypatch.setattr(statx, "_statx", None)
    before = take(target)
    target.write_text("hello")
    result = check(target, before)
    assert result.outcome == "verified"
    assert result.evidence["birth"] == "not reported by this file system"


def test_statx_says_what_stat_says(target: Path) -> None:
    """The fields read at fixed offsets are those that the standard library reads."""
    target.write_bytes(b"x" * 12345)
    with target.open("rb") as file:
        ours, theirs = statx.status(file.fileno()), os.fstat(file.fileno())
        assert (ours.mode, ours.dev, ours.inode) == (theirs.st_mode, theirs.st_dev, theirs.st_ino)
        assert (ours.size, ours.mtime_ns, ours.ctime_ns) == (12345, theirs.st_mtime_ns, theirs.st_ctime_ns)
        assert ours.btime_ns is None or ours.btime_ns <= ours.ctime_ns
