"""Folders of ended tasks on a worker's host: which go, how, and what is never touched."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from proofq.policies import lifecycle
from proofq.workers import places, trees
from proofq.workers.door import Event
from proofq.workers.errors import RedisUnavailable
from proofq.workers.folders import Folders
from proofq.workers.host_folder import HostFolder
from proofq.workers.session import Session
from proofq.workers.trees import Budget, Remover, Spent
from tests.commands import Project
from tests.workbench import Bench

MIB = 1024 * 1024


@pytest.fixture
def bench(opened: Session) -> Bench:
    """A live owner."""
    return Bench(opened, "note")


def _task(project: Project, opened: Session, bench: Bench, state: str, size: int = 10) -> str:
    """A task in that state with a folder of that size."""
    task_id = project.enqueue()
    bench.to(task_id, state)
    here = places.of(opened.project.state_dir, task_id, 1)
    here.make()
    (here.workdir / "made").write_bytes(b"x" * size)
    return task_id


def _names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def _there(opened: Session) -> set[str]:
    return set(_names(opened.project.state_dir / "tasks"))


def _folders(opened: Session, files_s: float = 0.0, quota: int = 0) -> Folders:
    return Folders(opened.store, opened.project.state_dir, files_s, quota)


def _wait_a_moment(opened: Session) -> None:
    """Until the server's clock has gone on by a millisecond."""
    before = opened.now_ms()
    while opened.now_ms() <= before + 1:
        time.sleep(0.001)


def test_only_folders_of_ended_tasks_go(project: Project, opened: Session, bench: Bench) -> None:
    """In every state there is: what may still run, wait or be judged keeps its folder."""
    made = {state: _task(project, opened, bench, state) for state in lifecycle.STATES if state != "queued"}
    made["queued"] = _task(project, opened, bench, "queued")
    _wait_a_moment(opened)
    assert _folders(opened).look() == len(lifecycle.TERMINAL)
    assert _there(opened) == {name for state, name in made.items() if state not in lifecycle.TERMINAL}
    assert _names(opened.project.state_dir / "trash") == []


def test_young_folders_stay(project: Project, opened: Session, bench: Bench) -> None:
    """Until files_s after the end; of a task that Redis does not know, after its last change."""
    young = _task(project, opened, bench, "verified")
    stranger = opened.project.state_dir / "tasks" / "from-another-redis"
    old = opened.project.state_dir / "tasks" / "long-ago"
    for folder in (stranger, old):
        folder.mkdir()
    os.utime(old, (1, 1))
    assert _folders(opened, 3600).look() == 1
    assert _there(opened) == {young, stranger.name}


def test_what_is_no_folder_of_a_task_is_left_alone(project: Project, opened: Session, bench: Bench) -> None:
    """Files, links and odd names in the folder of tasks, and everything beside it."""
    ended = _task(project, opened, bench, "verified")
    tasks = opened.project.state_dir / "tasks"
    elsewhere = project.root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("x")
    (tasks / "link").symlink_to(elsewhere)
    (tasks / "file").write_text("x")
    (tasks / "odd name").mkdir()
    for name in ("link", "file", "odd name"):
        os.utime(tasks / name, (1, 1), follow_symlinks=False)
    _wait_a_moment(opened)
    assert _folders(opened).look() == 1
    assert _there(opened) == {"link", "file", "odd name"}
    assert (elsewhere / "precious").read_text() == "x"
    assert ended not in _there(opened)


def test_links_inside_lead_nowhere(project: Project, opened: Session, bench: Bench) -> None:
    """An agent may have left links to anything: they go, what they lead to stays."""
    elsewhere = project.root / "elsewhere"
    (elsewhere / "deep").mkdir(parents=True)
    (elsewhere / "deep" / "precious").write_text("x")
    ended = _task(project, opened, bench, "failed")
    work = places.of(opened.project.state_dir, ended, 1).workdir
    (work / "up").symlink_to(elsewhere)
    (work / "file").symlink_to(elsewhere / "deep" / "precious")
    (work / "loop").symlink_to(work)
    os.mkfifo(work / "pipe")
    _wait_a_moment(opened)
    assert _folders(opened).look() == 1
    assert _there(opened) == set()
    assert _names(opened.project.state_dir / "trash") == []
    assert (elsewhere / "deep" / "precious").read_text() == "x"


def test_a_folder_of_tasks_that_is_a_link_is_refused(project: Project, opened: Session, bench: Bench) -> None:
    """Nothing is cleaned where `tasks` itself leads out of the state directory."""
    _task(project, opened, bench, "verified")
    tasks = opened.project.state_dir / "tasks"
    tasks.rename(project.root / "moved")
    tasks.symlink_to(project.root / "moved")
    _wait_a_moment(opened)
    with pytest.raises(OSError, match="tasks"):
        _folders(opened).look()
    assert len(_names(project.root / "moved")) == 1


def test_deep_and_locked_trees_go(tmp_path: Path) -> None:
    """Thousands of directories within each other, without rights, with names that are no text."""
    trash = tmp_path / "trash"
    trash.mkdir()
    here = os.open(trash, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", 0o700, dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(os.open(b"\xff", os.O_CREAT | os.O_WRONLY, dir_fd=inner))
        os.fchmod(here, 0o500)
        os.close(here)
        here = inner
    os.close(here)
    trash.chmod(0o700)
    names = iter(range(10_000))
    trash_fd = trees.open_directory(trash)
    remover = Remover(trash_fd, lambda: f"up{next(names)}", Budget(10_000))
    assert remover.empty() == []
    assert _names(trash) == []
    os.close(trash_fd)


def test_removal_has_a_budget(tmp_path: Path) -> None:
    """What one look cannot finish the next goes on with."""
    trash = tmp_path / "trash"
    (trash / "a").mkdir(parents=True)
    for number in range(30):
        (trash / "a" / str(number)).touch()
    trash_fd = trees.open_directory(trash)
    with pytest.raises(Spent):
        Remover(trash_fd, str, Budget(10)).empty()
    left = len(_names(trash / "a"))
    assert 0 < left < 30
    assert Remover(trash_fd, str, Budget(100)).empty() == []
    os.close(trash_fd)


def test_what_was_left_half_removed_goes_at_the_next_look(project: Project, opened: Session, bench: Bench) -> None:
    """A worker that died over it leaves its trash to the next."""
    _task(project, opened, bench, "running")
    left = opened.project.state_dir / "trash" / "x.0" / "deep"
    left.mkdir(parents=True)
    assert _folders(opened, 3600).look() == 0
    assert _names(opened.project.state_dir / "trash") == []


class _Meddler:
    """A client that lets something happen before the `nth` time a task is asked about alone."""

    def __init__(self, client: Any, nth: int, act: Any) -> None:
        self._client, self._left, self._act = client, nth, act

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def hmget(self, *words: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            self._act()
        return self._client.hmget(*words)


@pytest.mark.parametrize("nth", [1, 2])
def test_a_task_that_is_replayed_meanwhile_keeps_its_folder(
    project: Project, opened: Session, bench: Bench, nth: int
) -> None:
    """Before its folder is moved away, or after: it stands where it was, whole."""
    ended = _task(project, opened, bench, "failed")
    _wait_a_moment(opened)

    def replay() -> None:
        assert bench.door.apply(ended, Event("replay", "test")).ok

    real = opened.store.client
    opened.store.client = _Meddler(real, nth, replay)
    try:
        assert _folders(opened).look() == 0
    finally:
        opened.store.client = real
    assert places.of(opened.project.state_dir, ended, 1).workdir.joinpath("made").exists()
    assert _names(opened.project.state_dir / "trash") == []


def test_a_redis_that_goes_away_meanwhile_costs_nothing(project: Project, opened: Session, bench: Bench) -> None:
    """Nobody can say that the task has not begun anew, so its folder is put back."""
    ended = _task(project, opened, bench, "failed")
    _wait_a_moment(opened)

    def away() -> None:
        raise RedisUnavailable("away")

    real = opened.store.client
    opened.store.client = _Meddler(real, 2, away)
    try:
        with pytest.raises(RedisUnavailable):
            _folders(opened).look()
    finally:
        opened.store.client = real
    assert _there(opened) == {ended}


def test_past_the_quota_the_oldest_go_first(project: Project, opened: Session, bench: Bench) -> None:
    """However young, but no more than is needed, and none of a task that has not ended or that Redis does not know."""
    stranger = opened.project.state_dir / "tasks" / "from-another-redis"
    stranger.mkdir(parents=True)
    os.utime(stranger, (1, 1))
    ended = []
    for _ in range(4):
        ended.append(_task(project, opened, bench, "verified", MIB))
        _wait_a_moment(opened)
    running = _task(project, opened, bench, "running", MIB)
    folders = _folders(opened, 10 * 365 * 86400 * 10, 4 * MIB)
    assert folders.look() == 2
    assert _there(opened) == {*ended[2:], running, stranger.name}
    assert folders.full == ""
    assert folders.look() == 0


def test_with_nothing_left_to_remove_it_is_full(project: Project, opened: Session, bench: Bench) -> None:
    """It says so with the numbers, touches nothing that lives, and has room again once that has ended."""
    running = _task(project, opened, bench, "leased", 3 * MIB)
    folders = _folders(opened, 3600, 2 * MIB)
    assert folders.look() == 0
    assert "more than disk_quota_mib (2)" in folders.full
    assert _there(opened) == {running}
    bench.door.apply(running, Event("cancel", "test"))
    lease = bench.store.read(running)
    assert lease.state == "leased"
    opened.store.client.hset(f"proofq:task:{running}", mapping={"state": "cancelled", "ended_at": "5"})
    assert folders.look() == 1
    assert folders.full == ""


def test_folders_of_hosts_go_once_their_host_has_ended(project: Project, opened: Session, bench: Bench) -> None:
    """One host lives, one has ended, one was killed with its supervisor: only what nobody holds goes, not before its
    time; what else lies there stays."""
    _task(project, opened, bench, "running")
    hosts = opened.project.state_dir / "async"
    living, ended = HostFolder(hosts / "note.living"), HostFolder(hosts / "note.ended")
    (hosts / "note.killed" / "cwd").mkdir(parents=True)
    (hosts / "a-file").touch()
    (hosts / "a-link").symlink_to("note.living")
    os.utime(hosts / "note.ended", (1, 1))
    ended.leave()
    _folders(opened, 3600).look()
    assert len(_names(hosts)) == 5
    os.utime(hosts / "note.living", (1, 1))
    os.utime(hosts / "note.killed", (1, 1))
    _folders(opened, 3600).look()
    assert _names(hosts) == ["a-file", "a-link", "note.ended", "note.living"]
    living.leave()
    _folders(opened, 3600).look()
    assert _names(hosts) == ["a-file", "a-link", "note.ended", "note.living"], "their time begins with the end"
    for name in ("note.ended", "note.living"):
        os.utime(hosts / name, (1, 1))
    _folders(opened).look()
    assert _names(hosts) == ["a-file", "a-link"]
    assert _names(opened.project.state_dir / "trash") == []
