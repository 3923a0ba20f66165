"""The file proof on real file systems: what proves, what does not, and what cannot be told."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from proofq.policies.verdict import ProofResult
from proofq.workers import file_baseline, file_proof, regular_file, statx
from proofq.workers.file_baseline import FileBaseline

# A process that forks to give up its rights; what it runs afterwards takes no locks.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")

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


def _take(target: Path) -> FileBaseline:
    return file_baseline.take(str(target), HOST)


def _check(target: Path, before: FileBaseline | None, must_change: bool = False, **options: Any) -> ProofResult:
    result = file_proof.check({"path": str(target), **options}, before, HOST, must_change)
    json.dumps(result.to_dict(), allow_nan=False)
    return result


# --- content ---


def test_a_file_written_after_the_marker_is_proven(target: Path) -> None:
    """The first write after the baseline counts, and the evidence says what was seen."""
    before = _take(target)
    target.write_text("hello")
    result = _check(target, before, min_bytes=5, contains="ell", sha256=hashlib.sha256(b"hello").hexdigest().upper())
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
    before = _take(target)
    target.write_bytes(content)
    result = _check(target, before, **options)
    assert result.outcome == "unverified"
    assert reason in result.reason


def test_text_is_found_across_chunks(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text may lie across the borders of what is read at once."""
    monkeypatch.setattr(regular_file, "_CHUNK_BYTES", 3)
    before = _take(target)
    target.write_text("xxneedleyy")
    assert _check(target, before, contains="needle").outcome == "verified"
    assert _check(target, before, contains="needles").outcome == "unverified"


def test_a_large_file_is_streamed(folder: Path) -> None:
    """64 MiB are searched and digested without being held in memory."""
    target = folder / "large"
    before = _take(target)
    with target.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
        file.seek(0, os.SEEK_END)
        file.write(b"the end")
    result = _check(target, before, contains="the end", min_bytes=64 * 1024 * 1024)
    assert result.outcome == "verified"
    with target.open("rb") as file:
        assert result.evidence["sha256"] == hashlib.file_digest(file, "sha256").hexdigest()


def test_json_over_the_cap_cannot_be_told(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a JSON file longer than what is read fits its schema is not known, which is not the same as no."""
    monkeypatch.setattr(file_proof, "MAX_BYTES", 10)
    before = _take(target)
    target.write_text(json.dumps({"a": "x" * 20}))
    assert _check(target, before, json_schema={}).outcome == "cannot_tell"


@pytest.mark.parametrize(
    "schema",
    ["a.schema.json", {"type": "no such type"}, {"$ref": "https://example.com/x"}, {"$ref": "#/$defs/none"}],
)
def test_a_schema_of_no_use_cannot_tell(target: Path, schema: Any) -> None:
    """A schema that cannot be applied, or would have to be fetched, says nothing about the file."""
    before = _take(target)
    target.write_text("{}")
    assert _check(target, before, json_schema=schema).outcome == "cannot_tell"


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
    before = _take(target)
    NO_FILES[kind](target)
    result = _check(target, before, same_ok=True)
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
    before = _take(target)
    target.rmdir() if kind == "directory" else target.unlink()
    target.write_text("hello")
    assert _check(target, before).outcome == "verified"


# --- freshness ---


def test_nothing_there_is_unverified(target: Path) -> None:
    """A missing file, or one in a directory that never was, is a plain no."""
    assert _check(target, _take(target)).reason == "there is no file"
    deep = target / "a" / "b"
    assert _check(deep, _take(deep)).outcome == "unverified"
    below_a_file = target / "x"
    before = _take(below_a_file)
    target.write_text("a file, not a directory")
    assert _check(below_a_file, before).outcome == "unverified"


def test_directories_may_be_made_by_the_agent(folder: Path) -> None:
    """The marker is taken in the nearest directory there is."""
    target = folder / "a" / "b" / "c.txt"
    before = _take(target)
    target.parent.mkdir(parents=True)
    target.write_text("hello")
    assert _check(target, before).outcome == "verified"


def test_must_change_wants_other_content_whatever_same_ok_says(target: Path) -> None:
    """Rewriting the same bytes is fresh under same_ok, and not a change."""
    target.write_text("hello")
    before = _take(target)
    target.write_text("hello")
    assert _check(target, before, same_ok=True).outcome == "verified"
    changed = _check(target, before, same_ok=True, must_change=True)
    assert changed.outcome == "unverified"
    assert "must_change" in changed.reason
    target.write_text("hello!")
    assert _check(target, before, same_ok=True, must_change=True).outcome == "verified"


def test_a_parent_swapped_for_an_older_directory_proves_nothing(folder: Path) -> None:
    """An old directory moved or linked to where the target's should be brings no fresh file."""
    attic = folder / "attic"
    attic.mkdir()
    (attic / "out.md").write_text("hello")
    target = folder / "results" / "out.md"
    before = _take(target)
    attic.rename(target.parent)
    assert _check(target, before).outcome == "unverified"
    target.parent.rename(attic)
    target.parent.symlink_to(attic)
    target.touch()
    assert _check(target, before).outcome == "unverified"


def test_every_first_write_is_newer_than_its_marker(folder: Path) -> None:
    """200 files written at once after their baselines: each one is fresh."""
    for number in range(200):
        target = folder / str(number)
        before = _take(target)
        target.write_text("x")
        assert _check(target, before).outcome == "verified", number


def test_nothing_is_left_behind(folder: Path) -> None:
    """Neither marker nor probes stay, nor do open descriptors."""
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    before = _take(folder / "out")
    _check(folder / "out", before)
    assert list(folder.iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_file_systems_without_nameless_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that has a name for an instant does as well."""

    def unsupported(directory: str) -> int:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(file_baseline, "_nameless_file", unsupported)
    target = folder / "out"
    before = _take(target)
    assert before.marker == "file system"
    assert list(folder.iterdir()) == []
    target.write_text("hello")
    assert _check(target, before).outcome == "verified"


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
            before = _take(target)
        stale = _check(target, before)
        target.write_text("new")
        fresh = _check(target, before)
        return [before.marker, stale.outcome, fresh.outcome, "marker" in fresh.evidence]

    assert _as_nobody(look) == ["host", "unverified", "verified", True]


def _as_nobody(look: Callable[[], Any]) -> Any:
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


def test_file_systems_without_birth_times(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without statx the rule does without birth, and the evidence says so."""
    monkeypatch.setattr(statx, "_statx", None)
    before = _take(target)
    target.write_text("hello")
    result = _check(target, before)
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


# --- what cannot be told ---


def test_a_file_being_written_cannot_be_told(folder: Path) -> None:
    """While somebody keeps writing it a file is neither proven nor disproven."""
    target = folder / "busy"
    before = _take(target)
    with target.open("wb") as file:
        file.truncate(8 * 1024 * 1024)
    stop = threading.Event()

    def write() -> None:
        with target.open("r+b") as file:
            while not stop.is_set():
                file.seek(0)
                file.write(os.urandom(16))
                file.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        outcomes = {_check(target, before).outcome for _ in range(10)}
    finally:
        stop.set()
        writer.join()
    assert "cannot_tell" in outcomes
    assert "unverified" not in outcomes
    assert _check(target, before).outcome == "verified"


def test_what_cannot_be_read_cannot_be_told() -> None:
    """An I/O error while reading is not a no. (/proc/self/mem gives one at offset 0.)"""
    result = file_proof.holds({"path": "/proc/self/mem"})
    assert result.outcome == "cannot_tell"
    assert "EIO" in result.reason


@pytest.mark.parametrize("number", [errno.ESTALE, errno.ENOTCONN, errno.EIO, errno.EACCES, errno.ETIMEDOUT])
def test_an_unreachable_directory_cannot_be_told(target: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A lost mount answers every look with an error; that the file is missing is not known."""
    before = _take(target)

    def lost(path: str) -> os.stat_result:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", lost)
        result = _check(target, before)
    assert result.outcome == "cannot_tell"
    assert errno.errorcode[number] in result.reason


def test_no_permission_cannot_be_told(folder: Path) -> None:
    """A directory that may not be searched, and a file that may not be read, are not a no."""
    closed = folder / "closed"
    closed.mkdir()
    (closed / "out").write_text("hello")
    closed.chmod(0)
    unreadable = folder / "unreadable"
    unreadable.write_text("hello")
    unreadable.chmod(0)
    folder.chmod(0o755)

    def look() -> list[Any]:
        seen = [file_proof.holds({"path": str(path)}) for path in (closed / "out", unreadable)]
        return [f"{result.outcome}: {result.reason}"[:19] for result in seen]

    try:
        assert _as_nobody(look) == ["cannot_tell: EACCES"] * 2
    finally:
        closed.chmod(0o700)


def test_a_file_that_nobody_may_read_is_recorded_without_digest(folder: Path) -> None:
    """What may be seen but not read is recorded; a new size or birth can still prove it."""
    target = folder / "out"
    target.write_text("hello")
    target.chmod(0)
    folder.chmod(0o755)
    kind, size, digest = _as_nobody(lambda: [getattr(_take(target).record, key) for key in ("kind", "size", "digest")])
    assert (kind, size, digest) == ("file", 5, None)


def test_a_lost_anchor_is_not_a_missing_file(folder: Path) -> None:
    """Where the directory that was there is gone, as after a lost mount, nobody can tell."""
    mount = folder / "mount"
    mount.mkdir()
    before = _take(mount / "out")
    shutil.rmtree(mount)
    assert _check(mount / "out", before).outcome == "cannot_tell"


def test_another_file_system_under_the_path_cannot_be_told(target: Path) -> None:
    """A directory that is on another device than it was is not the one the agent wrote to."""
    before = _take(target)
    assert _check(target, replace(before, anchor_dev=before.anchor_dev + 1)).outcome == "cannot_tell"


def test_another_host_cannot_tell_of_local_files(target: Path) -> None:
    """What stands, or does not, on this host's disk says nothing about a file of another host."""
    options = {"path": str(target)}
    before = _take(target)
    assert file_proof.check(options, before, "elsewhere").outcome == "cannot_tell"
    target.write_text("hello")
    assert file_proof.check(options, before, "elsewhere").outcome == "cannot_tell"
    assert file_proof.check(options, before, HOST).outcome == "verified"


def test_another_host_sees_network_file_systems(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared file proves from anywhere; that it is missing here may be this host's mount."""
    monkeypatch.setattr(statx, "on_network", lambda descriptor: True)
    options = {"path": str(target)}
    before = _take(target)
    assert file_proof.check(options, before, "elsewhere").outcome == "cannot_tell"
    target.write_text("hello")
    assert file_proof.check(options, before, "elsewhere").outcome == "verified"


def test_without_a_record_nobody_can_tell(target: Path) -> None:
    """A file nobody looked at before the attempt cannot be judged afterwards."""
    target.write_text("hello")
    assert _check(target, None).outcome == "cannot_tell"


@pytest.mark.parametrize("path", ["", "relative", "/tmp/a\0b", "/tmp/\ud800", "/tmp/" + "x" * 300])
def test_impossible_paths_are_bad_input(path: str) -> None:
    """A path no file can have is the inputs' fault, before and after."""
    result = file_proof.holds({"path": path})
    assert (result.outcome, result.class_) == ("unverified", "bad_input")
    json.dumps(result.to_dict(), allow_nan=False, ensure_ascii=False).encode()
    with pytest.raises(regular_file.BadPath):
        file_baseline.take(path, HOST)


def test_baselines_cross_as_json(target: Path) -> None:
    """A baseline survives being stored as text."""
    target.write_text("hello")
    before = _take(target)
    assert FileBaseline.from_dict(json.loads(json.dumps(before.to_dict()))) == before
