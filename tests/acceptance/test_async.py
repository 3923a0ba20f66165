"""Async agents: hundreds of attempts in a process, cancelled one by one, and nobody blamed for a neighbour."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proofq.policies import lifecycle
from proofq.workers import proctree
from proofq.workers.door import Event
from tests.acceptance.harness import Site, one_end
from tests.spawning import alive
from tests.waiting import until

#: Of every worker here.
BLOCKED_S = 3


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with a worker that is ready, and has room."""
    with Site({"slots": 60, "loop_blocked_s": BLOCKED_S}) as one:
        one.start().wait_ready()
        yield one


def _go(site: Site) -> str:
    """The name of a file that nobody has made yet."""
    return site.out(os.urandom(4).hex())


def _running(site: Site, ids: list[str]) -> set[int]:
    """Wait until all of these run; the pids of their processes."""
    for task_id in ids:
        site.wait_for(task_id, lifecycle.RUNNING)
    return {site.snapshot(task_id).attempts[-1]["pid"] for task_id in ids}


def _ended_beside(site: Site, task_id: str) -> tuple[Any, ...]:
    """How the first attempt of a task ended that did nothing wrong, after the task itself has ended well."""
    task = site.wait_for(task_id, lifecycle.FINISHED_UNPROVEN)
    snapshot = site.snapshot(task_id)
    assert one_end(snapshot) == []
    assert task.counted == 1, "only the attempt that ended well"
    return snapshot.attempts[0]["outcome"], snapshot.attempts[0]["counted"], task.deaths


def test_many_share_a_process_and_one_is_cancelled() -> None:
    """Two hundred attempts wait in one process; one is cancelled, the others never notice."""
    with Site({"slots": 200}) as site:
        worker = site.start().wait_ready()
        go = _go(site)
        ids = [site.enqueue("gather", go=go) for _ in range(200)]
        [pid] = _running(site, ids)
        supervisor = proctree.read(worker.one("supervisor").pid)
        assert supervisor is not None
        assert supervisor.threads < 40, "what only waits needs no thread"
        stopped = ids.pop(77)
        _cancel(site, stopped)
        assert site.wait_for(stopped, lifecycle.CANCELLED).state == lifecycle.CANCELLED
        assert one_end(site.snapshot(stopped)) == []
        assert {task.state for task in site.store.read_many(ids)} == {lifecycle.RUNNING}
        Path(go).touch()
        tasks = site.wait_all(ids, 40)
        assert {task.state for task in tasks.values()} == {lifecycle.FINISHED_UNPROVEN}
        assert {(task.claim["pid"], task.claim["attempt"]) for task in tasks.values()} == {(pid, 1)}


def _cancel(site: Site, task_id: str) -> None:
    assert site.session.door.apply(task_id, Event("cancel", "test")).ok


def test_verified_by_a_file_of_its_workdir(site: Site) -> None:
    """A relative path of a proof is the attempt's workdir, though it shares its cwd."""
    task = site.wait_for(site.enqueue("write_shared", out="made.txt", text="it"), lifecycle.VERIFIED)
    assert task.verdict is not None
    [proof] = task.verdict["proofs"]
    assert proof["evidence"]["path"].endswith(f"/tasks/{task.id}/1/work/made.txt")
    assert one_end(site.snapshot(task.id)) == []


def test_what_is_printed_and_told_is_the_attempts_own(site: Site) -> None:
    """print, ctx.log, ctx.progress and ctx.state work side by side; raw output is the host's."""
    words = [f"word{number}" for number in range(5)]
    ids = [site.enqueue("tells_async", word=word) for word in words]
    for word, task_id in zip(words, ids, strict=True):
        claim = site.wait_for(task_id, lifecycle.FINISHED_UNPROVEN).claim
        workdir = Path(claim["workdir"])
        assert claim["is_dir"]
        assert claim["state"] == {"word": word}
        assert claim["child"] == f"{word}\n"
        assert claim["task_id"] is None
        assert claim["cwd"] != claim["workdir"]
        assert Path(claim["cwd"]).stat().st_mode & 0o777 == 0o500
        said = (workdir.parent / "stdout").read_text().splitlines()
        assert sorted(said) == sorted([f"out {word}", *(f"task {n} {word}" for n in range(3)), f"thread {word}"])
        errors = (workdir.parent / "stderr").read_text()
        assert errors.startswith(f"err {word}\n")
        assert f"INFO log {word}" in errors
        assert f"raw {word}\n" in (Path(claim["home"]).parent / "stdout").read_text()
        [record] = site.snapshot(task_id).attempts
        assert record["progress"] == f'{{"word":"{word}"}}'


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("raise", "crash", "ZeroDivisionError: on purpose"),
        ("timeout", "timeout", "TimeoutError"),
        ("cancels itself", "crash", "nobody of us asked"),
        ("sys_exit", "crash", "SystemExit: 3"),
        ("task exits", "crash", "SystemExit: 3"),
        ("no json", "malformed_output", "is no JSON"),
        ("group", "network", "ConnectionResetError"),
    ],
)
def test_how_it_ends_is_classified_in_the_loop(site: Site, how: str, kind: str, words: str) -> None:
    """Errors have the class that they have in a process of their own, and the loop goes on."""
    task = site.wait_for(site.enqueue("ends", how=how), {lifecycle.FAILED, lifecycle.QUARANTINED})
    assert task.failure is not None
    assert (task.failure.kind, words in task.failure.reason) == (kind, True), task.failure
    pids = {site.wait_for(site.enqueue("ends", how="well"), lifecycle.FINISHED_UNPROVEN).claim}
    assert pids == {"well"}


def test_libraries_find_their_tasks_as_they_expect_them(site: Site) -> None:
    """anyio's task groups and cancel scopes, which look into tasks, work."""
    task = site.wait_for(site.enqueue("ends", how="anyio"), lifecycle.FINISHED_UNPROVEN)
    assert task.claim == "heard [0, 1, 2]"


def test_progress_is_watched_for_each(site: Site) -> None:
    """Side by side: who is silent for its stall_after_s is cancelled as stalled, who prints or tells goes on."""
    silent = site.enqueue("steps_async", how="silent", run_s=30.0)
    lively = [site.enqueue("steps_async", how=how, run_s=4.0) for how in ("tells", "prints")]
    task = site.wait_for(silent, lifecycle.FAILED)
    assert task.failure is not None
    assert (task.failure.kind, "stall_after_s of 1.5" in task.failure.reason) == ("stalled", True)
    for one in lively:
        assert site.wait_for(one, lifecycle.FINISHED_UNPROVEN).attempt == 1


def test_a_host_that_cannot_be_heard_is_ended(site: Site) -> None:
    """An attempt shut the host's socket: the process is ended, and the attempt, alone in it, with it."""
    task_id = site.enqueue("ends", how="mute")
    task = site.wait_for(task_id, {lifecycle.FAILED, lifecycle.QUARANTINED})
    assert task.failure is not None
    assert alive([site.snapshot(task_id).attempts[-1]["pid"]]) == []
    assert one_end(site.snapshot(task_id)) == []


@pytest.mark.parametrize("how", ["block", "hold the lock"])
def test_a_blocked_loop_is_named(site: Site, how: str) -> None:
    """Who keeps the loop from turning fails as stalled, with the place; its neighbours run again, nothing counted."""
    go = _go(site)
    neighbours = [site.enqueue("gather", go=go) for _ in range(5)]
    [pid] = _running(site, neighbours)
    blocker = site.enqueue("gather", how=how, go=go)
    task = site.wait_for(blocker, lifecycle.FAILED)
    assert task.failure is not None
    assert task.failure.kind == "stalled"
    assert f"blocked the event loop it shares for {BLOCKED_S} s" in task.failure.reason
    assert "gather (shared.py:" in task.failure.reason
    assert one_end(site.snapshot(blocker)) == []
    assert alive([pid]) == []
    [new] = _running(site, neighbours)
    assert new != pid
    Path(go).touch()
    assert {_ended_beside(site, one) for one in neighbours} == {("given_back", False, 0)}


@pytest.mark.parametrize(("how", "state"), [("deaf", lifecycle.FAILED), ("leaves", lifecycle.FINISHED_UNPROVEN)])
def test_who_outlives_its_cancel_loses_its_process(site: Site, how: str, state: str) -> None:
    """A deadline holds though the coroutine swallows it, a task that it leaves ends with the process before its own end
    is told; neighbours are not blamed."""
    go = _go(site)
    bad = site.enqueue("swallows", how=how, go=go)
    [pid] = _running(site, [bad]) if how == "deaf" else [0]
    neighbours = [site.enqueue("swallows", go=go) for _ in range(3)]
    task = site.wait_for(bad, state)
    record = site.snapshot(bad).attempts[0]
    assert alive([record["pid"]]) == []
    if how == "deaf":
        assert task.failure is not None
        assert task.failure.kind == "timeout"
        assert record["pid"] == pid
        assert 4.0 <= (record["ended_at"] - record["started_at"]) / 1000 <= 4.0 + 1.0 + 4.0
    Path(go).touch()
    for one in neighbours:
        site.wait_for(one, {lifecycle.FINISHED_UNPROVEN, lifecycle.FAILED})
    assert one_end(site.snapshot(bad)) == []


def test_kill_9_of_a_host_charges_all_and_blames_none(site: Site) -> None:
    """Nobody knows whose doing it was: each is charged with a death, as of a worker, and runs again."""
    go = _go(site)
    ids = [site.enqueue("gather", go=go) for _ in range(5)]
    [pid] = _running(site, ids)
    os.kill(pid, signal.SIGKILL)
    until(lambda: all(site.task(one).deaths == 1 for one in ids), 20.0, "a death on each")
    Path(go).touch()
    assert {_ended_beside(site, one) for one in ids} == {("lost", False, 1)}


def test_who_kills_its_host_is_found_out() -> None:
    """A suspect is tried in a host of its own, whose exit is its own; whoever runs meanwhile is not beside it."""
    with Site({"slots": 10, "max_deaths": 2}) as site:
        site.start().wait_ready()
        word, go = _go(site), _go(site)
        killer, beside = site.enqueue("gather", how="exit", go=word), site.enqueue("gather", go=go)
        assert len(_running(site, [killer, beside])) == 1
        Path(f"{word}.1").touch()
        until(lambda: site.task(beside).deaths == site.task(killer).deaths == 1, 20.0, "a death on both")
        Path(go).touch()
        until(
            lambda: site.task(killer).attempt >= 2 and site.task(killer).state == lifecycle.RUNNING, 30.0, "its trial"
        )
        go = _go(site)
        later = site.enqueue("gather", go=go)
        assert len(_running(site, [killer, later])) == 2
        for number in range(2, 9):
            Path(f"{word}.{number}").touch()
        task = site.wait_for(killer, lifecycle.QUARANTINED, 60)
        assert task.failure is not None
        assert task.failure.kind == "crash"
        assert "exited with code 3" in task.failure.reason
        assert task.deaths == 1
        Path(go).touch()
        assert site.wait_for(later, lifecycle.FINISHED_UNPROVEN).attempt == 1
        # Which of the two was tried first is chance.
        site.wait_for(beside, lifecycle.FINISHED_UNPROVEN)


def test_alone_in_its_host_its_end_is_its_own(site: Site) -> None:
    """Where nobody else was there, the exit of the process is the attempt's, with no death charged."""
    task = site.wait_for(site.enqueue("gather", how="die"), lifecycle.QUARANTINED)
    assert task.failure is not None
    assert task.failure.kind == "resource"
    assert task.deaths == 0


def test_a_drain_gives_back_uncounted() -> None:
    """What does not end in the drain's time is cancelled and given back; nothing is left, and the exit is 0."""
    with Site({"slots": 20}) as site:
        worker = site.start(drain_s=0.5).wait_ready()
        ids = [site.enqueue("gather") for _ in range(20)]
        _running(site, ids)
        worker.term()
        assert worker.wait(20) == 0
        assert {(task.state, task.counted) for task in site.store.read_many(ids)} == {(lifecycle.QUEUED, 0)}
        site.wait_nothing_left()


def test_a_dead_supervisor_takes_its_hosts_with_it() -> None:
    """kill -9 of the supervisor: the host is dead, and its tasks run again in another one."""
    with Site({"slots": 10}) as site:
        worker = site.start().wait_ready()
        go = _go(site)
        ids = [site.enqueue("gather", go=go) for _ in range(10)]
        [pid] = _running(site, ids)
        worker.one("supervisor").signal(signal.SIGKILL)
        until(lambda: not alive([pid]), 10.0, "the end of the host")
        Path(go).touch()
        tasks = site.wait_all(ids, 40)
        assert {(task.state, task.deaths) for task in tasks.values()} == {(lifecycle.FINISHED_UNPROVEN, 1)}
