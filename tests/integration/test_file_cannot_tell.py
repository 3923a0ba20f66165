"""The file proof where it cannot look: neither a yes nor a no."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proofq.workers import file_baseline, file_proof, regular_file, statx
from proofq.workers.file_baseline import FileBaseline
from proofq.workers.kernel_clock import KernelClock
from tests.files import HOST, as_nobody, check, folder, take, target

__all__ = ["folder", "target"]

# A process that forks to give up its rights; what it runs afterwards takes no locks.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")


def test_a_file_being_written_cannot_be_told(folder: Path) -> None:
    """While somebody keeps writing it a file is neither proven nor disproven."""
    target = folder / "busy"
    before = take(target)
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
        outcomes = {check(target, before).outcome for _ in range(10)}
    finally:
        stop.set()
        writer.join()
    assert "cannot_tell" in outcomes
    assert "unverified" not in outcomes
    assert check(target, before).outcome == "verified"


def test_what_cannot_be_read_cannot_be_told() -> None:
    """An I/O error while reading is not a no. (/proc/self/mem gives one at offset 0.)"""
    result = file_proof.holds({"path": "/proc/self/mem"})
    assert result.outcome == "cannot_tell"
    assert "EIO" in result.reason


@pytest.mark.parametrize("number", [errno.ESTALE, errno.ENOTCONN, errno.EIO, errno.EACCES, errno.ETIMEDOUT])
def test_an_unreachable_directory_cannot_be_told(target: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A lost mount answers every look with an error; that the file is missing is not known."""
    before = take(target)

    def lost(path: str) -> os.stat_result:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", lost)
        result = check(target, before)
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
        assert as_nobody(look) == ["cannot_tell: EACCES"] * 2
    finally:
        closed.chmod(0o700)


def test_a_file_that_nobody_may_read_is_recorded_without_digest(folder: Path) -> None:
    """What may be seen but not read is recorded; a new size or birth can still prove it."""
    target = folder / "out"
    target.write_text("hello")
    target.chmod(0)
    folder.chmod(0o755)
    kind, size, digest = as_nobody(lambda: [getattr(take(target).record, key) for key in ("kind", "size", "digest")])
    assert (kind, size, digest) == ("file", 5, None)


def test_a_lost_anchor_is_not_a_missing_file(folder: Path) -> None:
    """Where the directory that was there is gone, as after a lost mount, nobody can tell."""
    mount = folder / "mount"
    mount.mkdir()
    before = take(mount / "out")
    shutil.rmtree(mount)
    assert check(mount / "out", before).outcome == "cannot_tell"


def test_another_file_system_under_the_path_cannot_be_told(target: Path) -> None:
    """A directory that is on another device than it was is not the one the agent wrote to."""
    before = take(target)
    assert check(target, replace(before, anchor_dev=before.anchor_dev + 1)).outcome == "cannot_tell"


def test_another_host_cannot_tell_of_local_files(target: Path) -> None:
    """What stands, or does not, on this host's disk says nothing about a file of another host."""
    options = {"path": str(target)}
    before = take(target)
    assert file_proof.check(options, before, "elsewhere").outcome == "cannot_tell"
    target.write_text("hello")
    assert file_proof.check(options, before, "elsewhere").outcome == "cannot_tell"
    assert file_proof.check(options, before, HOST).outcome == "verified"


def test_another_host_sees_network_file_systems(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared file proves from anywhere; that it is missing here may be this host's mount."""
    monkeypatch.setattr(statx, "on_network", lambda descriptor: True)
    monkeypatch.setattr(file_baseline, "_kernel_clock", KernelClock())
    options = {"path": str(target)}
    before = take(target)
    assert file_proof.check(options, before, "elsewhere").outcome == "cannot_tell"
    target.write_text("hello")
    assert file_proof.check(options, before, "elsewhere").outcome == "verified"


def test_without_a_record_nobody_can_tell(target: Path) -> None:
    """A file nobody looked at before the attempt cannot be judged afterwards."""
    target.write_text("hello")
    assert check(target, None).outcome == "cannot_tell"


@pytest.mark.parametrize("path", ["", "relative", "/tmp/a\0b", "/tmp/\ud800", "/tmp/" + "x" * 300])
def test_impossible_paths_are_bad_input(path: str) -> None:
    """A path no file can have is the inputs' fault, before and after."""
    result = file_proof.holds({"path": path})
    assert (result.outcome, result.class_) == ("unverified", "bad_input")
    json.dumps(result.to_dict(), allow_nan=False, ensure_ascii=False).encode()
    with pytest.raises(regular_file.BadPath):
        file_baseline.take(path, HOST)


def test_content_that_was_never_read_cannot_be_compared(target: Path) -> None:
    """A file whose earlier content nobody could read, and that has its size still, may be old or new."""
    target.write_text("hello")
    before = take(target)
    unread = replace(before, record=replace(before.record, digest=None))
    target.write_text("HELLO")
    assert check(target, unread).outcome == "cannot_tell"
    assert check(target, unread, must_change=True, same_ok=True).outcome == "cannot_tell"
    assert check(target, unread, contains="hello").outcome == "unverified"


def test_markers_are_looked_for_on_one_file_system(target: Path) -> None:
    """The directories above the target in which a marker may be made end where its file system does."""
    found = list(file_baseline._ancestors(str(target / "x")))
    assert found[0] == str(target.parent)
    assert {Path(each).stat().st_dev for each in found} == {target.parent.stat().st_dev}


def test_baselines_cross_as_json(target: Path) -> None:
    """A baseline survives being stored as text."""
    target.write_text("hello")
    before = take(target)
    assert FileBaseline.from_dict(json.loads(json.dumps(before.to_dict()))) == before


@pytest.mark.parametrize(
    ("marker", "kind", "told"),
    [("kernel", "absent", True), ("raised", "absent", True), ("kernel", "file", False)]
    + [(marker, "absent", False) for marker in ("file system", "host")],
)
def test_only_what_the_kernel_stamps_and_was_not_there_is_told_again(marker: str, kind: str, told: bool) -> None:
    """A lease says what time it was by the kernel's clock alone, and not what stood there."""
    baseline = {"marker": marker, "record": {"kind": kind}}
    assert file_baseline.can_be_told_again(baseline) is told
    assert file_baseline.is_stamped_by_kernel(baseline) is (marker in ("kernel", "raised"))
