"""What the supervisor sees of a file by itself, and what it leaves to a process that may be killed."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from proofq.workers import file_baseline, known_folders
from proofq.workers.known_folders import MAX_BYTES, KnownFolders
from tests.files import HOST, folder

__all__ = ["folder"]

_CLONE_NEWNS = 0x00020000
_MS_PRIVATE_AND_ALL_BELOW = 0x40000 | 0x4000


@pytest.fixture
def known(folder: Path) -> KnownFolders:
    """It has been told of the folder."""
    made = KnownFolders()
    made.learn(str(folder), folder.stat().st_dev)
    return made


def test_nothing_there_is_what_a_verifier_says(known: KnownFolders, folder: Path) -> None:
    """Also where the folders above are missing; the marker is no younger than the look."""
    for path in (folder / "out", folder / "a" / "b" / "out"):
        asked = file_baseline.take(str(path), HOST)
        seen = known.without(str(path), HOST)
        assert seen is not None
        assert seen.marker == asked.marker in ("raised", "kernel")
        assert (seen.record, seen.anchor_dev, seen.network) == (asked.record, asked.anchor_dev, asked.network)
        for tick in file_baseline.ticks_of({"files": [seen.to_dict()]}, HOST):
            file_baseline.await_tick(*tick)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert path.stat().st_ctime_ns > seen.marker_ctime_ns > asked.marker_ctime_ns
        assert known.without(str(path), HOST) is None


def test_a_small_file_is_read(known: KnownFolders, folder: Path) -> None:
    """Its bytes, its times and whether the text is in it."""
    path = folder / "out"
    path.write_bytes(b"x" * MAX_BYTES)
    seen = known.read(str(path), b"y")
    assert seen is not None
    assert not seen.found
    status = path.stat()
    assert (seen.record.size, seen.record.ctime_ns, seen.record.inode) == (
        MAX_BYTES,
        status.st_ctime_ns,
        status.st_ino,
    )
    path.write_text("xyz")
    again = known.read(str(path), b"y")
    assert again is not None
    assert again.found


def _linked(folder: Path) -> str:
    (folder / "old").write_text("old")
    (folder / "link").symlink_to("old")
    return "link"


def _below_a_link(folder: Path) -> str:
    (folder / "real").mkdir()
    (folder / "real" / "out").write_text("out")
    (folder / "link").symlink_to("real")
    return "link/out"


def _fifo(folder: Path) -> str:
    os.mkfifo(folder / "out")
    return "out"


def _directory(folder: Path) -> str:
    (folder / "out").mkdir()
    return "out"


def _long(folder: Path) -> str:
    (folder / "out").write_bytes(b"x" * (MAX_BYTES + 1))
    return "out"


def _below_a_file(folder: Path) -> str:
    (folder / "file").write_text("")
    return "file/out"


def _no_path(_: Path) -> str:
    return "a\0b"


def _too_long(_: Path) -> str:
    return "x" * 300


def _dangling(folder: Path) -> str:
    (folder / "link").symlink_to("nowhere")
    return "link/out"


@pytest.mark.parametrize(
    "made",
    [_linked, _below_a_link, _fifo, _directory, _long, _below_a_file, _no_path, _too_long, _dangling],
)
def test_all_else_is_a_verifiers_to_look_at(known: KnownFolders, folder: Path, made: Callable[[Path], str]) -> None:
    """Nothing is followed, nothing is waited for, and nothing of it is called absent."""
    path = f"{folder}/{made(folder)}"
    assert known.read(path, b"") is None
    assert known.without(path, HOST) is None


def test_what_only_others_may_read_is_left_to_who_says_so(known: KnownFolders, folder: Path) -> None:
    """A file that cannot be opened."""
    path = folder / "out"
    path.write_text("out")
    path.chmod(0)
    assert (known.read(str(path), b"") is None) == (os.geteuid() != 0)


def test_no_other_file_system_is_entered(folder: Path) -> None:
    """A mount in the way, in a process with mounts of its own: it may be one that hangs."""
    (folder / "mount").mkdir()
    path = str(folder / "mount" / "out")
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = b"?"
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            refused = libc.unshare(_CLONE_NEWNS) or libc.mount(None, b"/", None, _MS_PRIVATE_AND_ALL_BELOW, None)
            known = KnownFolders()
            known.learn(str(folder), folder.stat().st_dev)
            looks = [known.without(path, HOST) is not None]
            if refused or libc.mount(b"tmpfs", str(folder / "mount").encode(), b"tmpfs", 0, None):
                said = b"-"
            else:
                looks.append(known.without(path, HOST) is None)
                Path(path).write_text("out")
                looks.append(known.read(path, b"") is None)
                said = b"y" if all(looks) else b"n"
        finally:
            os.write(writing, said)
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        said = told.read()
    os.waitpid(pid, 0)
    if said == b"-":
        pytest.skip("mounts are not permitted here")
    assert said == b"y"


def test_no_descriptor_is_left_open(known: KnownFolders, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By looks that find something, nothing, or what is a verifier's to look at; nor by folders that are forgotten."""
    (folder / "out").write_text("out")
    (folder / "long").write_bytes(b"x" * (MAX_BYTES + 1))
    assert known.without(f"{folder}/nothing", HOST) is not None
    before = _descriptors()
    for name in ("out", "long", "nothing", "out/below", "a\0b"):
        known.read(f"{folder}/{name}", b"")
        known.without(f"{folder}/{name}", HOST)
    assert _descriptors() == before
    now_s = time.monotonic()
    for minutes in range(1, 5):
        monkeypatch.setattr(time, "monotonic", lambda minutes=minutes: now_s + 61 * minutes)
        known.learn(str(folder), folder.stat().st_dev)
        assert known.without(f"{folder}/nothing", HOST) is not None
    assert _descriptors() <= before


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_another_folder_under_the_name_is_not_known(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until a verifier has been there, too."""
    monkeypatch.setattr(known_folders, "_top_of", lambda name, _: name)
    known, device = KnownFolders(), folder.stat().st_dev
    place = folder / "place"
    place.mkdir()
    known.learn(str(place), device)
    path = str(place / "out")
    assert known.without(path, HOST) is not None
    place.rename(folder / "before")
    place.mkdir()
    assert known.without(path, HOST) is None
    known.learn(str(place), device)
    assert known.without(path, HOST) is not None


def test_a_folder_is_known_for_a_minute(known: KnownFolders, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By then something else may be mounted on its file system."""
    path = str(folder / "out")
    assert known.without(path, HOST) is not None
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s + 61)
    assert known.without(path, HOST) is None
    known.learn(str(folder), folder.stat().st_dev)
    assert known.without(path, HOST) is not None


def test_nothing_is_learnt_of_another_device(folder: Path) -> None:
    """What is mounted there by now is not what the verifier has seen."""
    known = KnownFolders()
    known.learn(str(folder), folder.stat().st_dev + 1)
    assert known.without(str(folder / "out"), HOST) is None


def test_a_file_system_is_known_whole(known: KnownFolders, folder: Path) -> None:
    """One look of a verifier will do for all folders on it that are reached without leaving it."""
    beside = folder.with_name(f"{folder.name}-beside")
    beside.mkdir()
    try:
        assert known.without(str(beside / "out"), HOST) is not None
    finally:
        beside.rmdir()
