"""What the supervisor sees of a file by itself, and what it leaves to a process that may be killed."""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from proofq.workers import beneath, file_baseline, known_folders
from proofq.workers.clock import latest_stamp_ns
from proofq.workers.known_folders import MAX_BYTES, KnownFolders
from tests.files import FOLDERS, HOST, folder

__all__ = ["folder"]

#: Mounts a file system of a kind, with options, in a process with mounts of its own.
Mount: TypeAlias = Callable[[Path, str, str], None]
#: Seconds after which who looks counts as hanging.
WITHIN_S = 20.0
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


ODD = [_linked, _below_a_link, _fifo, _directory, _long, _below_a_file, _no_path, _too_long, _dangling]


def _in_a_folder_of_its_own(made: Callable[[Path], str]) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        folder.mkdir()
        return f"{folder.name}/{made(folder)}"

    return make


@pytest.mark.parametrize("made", ODD)
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


def test_no_other_file_system_is_entered(known: KnownFolders, folder: Path) -> None:
    """A mount in the way, in a process with mounts of its own: it may be one that hangs."""
    (folder / "mount").mkdir()
    path = str(folder / "mount" / "out")
    assert known.without(path, HOST) is not None

    def look(mount: Mount) -> bool:
        mount(folder / "mount", "tmpfs", "")
        looks = [known.without(path, HOST) is None]
        Path(path).write_text("out")
        return all([*looks, known.read(path, b"") is None])

    assert _with_mounts(look)


def test_nobody_is_waited_for_who_never_answers(folder: Path) -> None:
    """A link or a mount that an agent has put on the way to a known folder, and on that to its target, leads into the
    file system of a daemon that says nothing."""
    known, device = KnownFolders(), folder.stat().st_dev
    real, hung, link = (folder / name for name in ("real", "hung", "link"))
    for made in (real, hung):
        (made / "deep").mkdir(parents=True)
    _link(link, real)
    known.learn(str(link), device)
    known.learn(str(hung), device)
    targets = [str(link / "out"), str(hung / "out"), str(hung / "deep" / "out")]
    assert all(known.without(target, HOST) is not None for target in targets)

    def look(mount: Mount) -> bool:
        mount(hung, "fuse", f"fd={os.open('/dev/fuse', os.O_RDWR)},rootmode=40000,user_id=0,group_id=0")
        told = [known.without(target, HOST) for target in targets[1:]]
        for below in ("hung", "hung/deep"):
            link.unlink()
            link.symlink_to(folder / below)
            told.append(known.without(targets[0], HOST))
            known.learn(str(link), device)
        return told == [None] * 4

    assert _with_mounts(look)


def _link(link: Path, to: Path) -> None:
    """As a verifier leaves it that has been there: the kernel has written down that it was read, and has to no more."""
    link.symlink_to(to)
    file_baseline.await_tick("", link.lstat().st_ctime_ns)
    assert link.exists()


def _with_mounts(look: Callable[[Mount], bool]) -> bool:
    """What it says in a process with mounts of its own; skips where they are not permitted."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = b"?"
        try:
            libc = ctypes.CDLL(None, use_errno=True)

            def mount(where: Path, kind: str, options: str) -> None:
                if libc.mount(kind.encode(), str(where).encode(), kind.encode(), 0, options.encode()):
                    raise PermissionError

            if libc.unshare(_CLONE_NEWNS) or libc.mount(None, b"/", None, _MS_PRIVATE_AND_ALL_BELOW, None):
                raise PermissionError
            said = b"y" if look(mount) else b"n"
        except (FileNotFoundError, PermissionError):
            said = b"-"
        finally:
            os.write(writing, said)
            os._exit(0)
    os.close(writing)
    try:
        assert select.select([reading], [], [], WITHIN_S)[0], "it hangs"
        said = os.read(reading, 1)
    finally:
        os.close(reading)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if said == b"-":
        pytest.skip("such mounts are not permitted here")
    return said == b"y"


def test_folders_above_are_found_though_the_kernel_forgot_them(
    known: KnownFolders, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Name by name then; what is a link or is not there is told apart as before."""
    found = beneath._found

    def forgetful(at: int, path: bytes, how: bytes) -> int | None:
        if how == beneath._ABOVE:
            raise BlockingIOError
        return found(at, path, how)

    monkeypatch.setattr(beneath, "_found", forgetful)
    path = folder / "a" / "b" / "out"
    assert known.without(str(path), HOST) is not None
    path.parent.mkdir(parents=True)
    assert known.without(str(path), HOST) is not None
    path.write_text("out")
    assert known.without(str(path), HOST) is None
    assert known.read(str(path), b"out") is not None
    (folder / "link").symlink_to("a")
    for odd in ("link/b/out", "link/b/none", "a/b/out/none", "a/../none"):
        assert known.without(f"{folder}/{odd}", HOST) is None


def test_no_descriptor_is_left_open(known: KnownFolders, folder: Path) -> None:
    """Whatever was found."""
    made = [name(folder / str(number)) for number, name in enumerate(map(_in_a_folder_of_its_own, ODD))]
    (folder / "out").write_text("out")
    paths = [str(folder / name) for name in ("out", "none", "none/none", *made)]

    def look() -> int:
        for path in paths:
            known.without(path, HOST)
            known.read(path, b"")
            known.learn(path, folder.stat().st_dev)
        return _descriptors()

    before = look()
    assert look() == before


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
    before = _descriptors()
    assert known.without(path, HOST) is None
    known.learn(str(place), device)
    assert known.without(path, HOST) is not None
    assert _descriptors() == before


def test_few_folders_are_known_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest of them, and each once, however often its minute was over."""
    monkeypatch.setattr(known_folders, "_top_of", lambda name, _: name)
    known, device, now_s = KnownFolders(), folder.stat().st_dev, time.monotonic()
    for number in range(70):
        (folder / str(number)).mkdir()
        known.learn(str(folder / str(number)), device)
    assert len(known._folders) == 64
    assert known.without(str(folder / "69" / "out"), HOST) is not None
    for minutes in (1, 2):
        monkeypatch.setattr(time, "monotonic", lambda minutes=minutes: now_s + 61 * minutes)
        known.learn(str(folder / "69"), device)
        assert len(known._folders) == 1


def test_the_marker_is_no_younger_than_the_look(
    known: KnownFolders, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody makes right after it is newer."""
    looked_ns, find = [], beneath.find

    def noted(at: int, path: str) -> int | None:
        looked_ns.append(latest_stamp_ns())
        return find(at, path)

    monkeypatch.setattr(beneath, "find", noted)
    seen = known.without(str(folder / "out"), HOST)
    assert seen is not None
    assert [seen.marker_ctime_ns <= each for each in looked_ns] == [True]


def test_a_file_that_somebody_has_a_lease_of_is_not_waited_for(known: KnownFolders, folder: Path) -> None:
    """Who opens it waits until that one lets go, which the kernel sees to after 45 s."""
    path = folder / "out"
    path.write_text("out")
    holder = os.open(path, os.O_RDWR)
    try:
        fcntl.fcntl(holder, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        assert known.read(str(path), b"") is None
    finally:
        os.close(holder)


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


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_file_systems_both_are_known(order: int) -> None:
    """Also where one is mounted below a folder of the other, and that one is known first."""
    if len(FOLDERS) < 2:
        pytest.skip("there is one file system here")
    known = KnownFolders()
    for place in FOLDERS[::order]:
        known.learn(place, Path(place).stat().st_dev)
    for place in FOLDERS:
        assert known.without(f"{place}/proofq-none", HOST) is not None


def test_a_folder_behind_a_link_is_known(known: KnownFolders, folder: Path) -> None:
    """And no more once the link leads elsewhere."""
    for name in ("real", "other"):
        (folder / name).mkdir()
    _link(folder / "link", folder / "real")
    path = str(folder / "link" / "out")
    assert known.without(path, HOST) is None
    known.learn(str(folder / "link"), folder.stat().st_dev)
    assert known.without(path, HOST) is not None
    (folder / "link").unlink()
    _link(folder / "link", folder / "other")
    assert known.without(path, HOST) is None


def test_a_file_system_is_known_whole(known: KnownFolders, folder: Path) -> None:
    """One look of a verifier will do for all folders on it that are reached without leaving it."""
    beside = folder.with_name(f"{folder.name}-beside")
    beside.mkdir()
    try:
        assert known.without(str(beside / "out"), HOST) is not None
    finally:
        beside.rmdir()
