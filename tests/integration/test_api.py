"""The Python API: the face of the package, and a task that is followed to its end."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import proofq
from proofq.policies import lifecycle
from proofq.workers import session
from proofq.workers.api import Task
from proofq.workers.session import Session
from tests.commands import Project
from tests.servers import PrivateServer
from tests.waiting import until
from tests.workbench import HELD, Bench

NOTE = {"text": "hi", "out": "a.txt"}


@pytest.fixture
def opened(
    tmp_path: Path, redis_server: PrivateServer, redis_client: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Session]:
    """The session of this process, whose working directory is a project on an empty private Redis."""
    project = Project(tmp_path / "p", redis_server.url)
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("PROOFQ_REDIS_URL", redis_server.url)
    yield session.shared()
    session.forget()


@pytest.fixture
def bench(opened: Session) -> Bench:
    """A worker's hands."""
    return Bench(opened, "note")


# --- the face ------------------------------------------------------------------------------------------------------


def test_everything_public_is_there() -> None:
    """Each public name resolves, stands in dir() and __all__, and nothing else does."""
    assert set(proofq.__all__) == set(proofq._PLACES)
    assert all(getattr(proofq, name) is not None for name in proofq.__all__)
    assert set(proofq.__all__) <= set(dir(proofq))
    with pytest.raises(AttributeError):
        _ = proofq.nothing


def test_the_errors_are_one_tree() -> None:
    """Catching proofq.Error catches everything proofq raises on purpose."""
    for name in ("BadInput", "UnknownAgent", "KeyConflict", "RedisUnavailable", "TaskFailed", "NotProven"):
        assert issubclass(getattr(proofq, name), proofq.Error)


def test_importing_proofq_loads_nothing_heavy() -> None:
    """`import proofq` and declaring an agent load neither redis nor rq nor rich."""
    code = (
        "import sys, proofq\n"
        "@proofq.agent(unproven=True)\n"
        "def a(ctx): ...\n"
        "print([m for m in ('redis', 'rq', 'rich', 'tenacity') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_run_outside_a_worker_raises() -> None:
    """`proofq.run` is a name for RQ; called anywhere else it says what serves it."""
    with pytest.raises(proofq.Error, match="proofq worker"):
        proofq.run({"doc": "a"})


# --- a task --------------------------------------------------------------------------------------------------------


def test_enqueue_gives_a_task(opened: Session) -> None:
    """The task has an id and a state, and nothing yet that only an end brings."""
    task = proofq.enqueue("note", NOTE)
    assert task.state == "queued"
    assert (task.result, task.failure, task.verdict) == (None, None, None)
    assert [crumb["event"] for crumb in task.breadcrumbs()] == ["enqueue"]
    assert task == Task(task.id)
    assert task.breadcrumbs()[0]["who"].startswith("api:")


def test_a_task_is_read_anew_each_time(opened: Session, bench: Bench) -> None:
    """The same object shows each state as it comes."""
    task = proofq.enqueue("note", NOTE)
    seen = [task.state]
    lease = bench.run(task.id)
    seen.append(task.state)
    claimed = bench.event(lease, "claim", claim={"words": 3})
    assert claimed.lease is not None
    seen.append(task.state)
    assert task.result is None, "a claim is no result before it is proven"
    bench.event(claimed.lease, "verify", verdict=HELD)
    seen.append(task.state)
    assert seen == ["queued", "running", "claimed_done", "verified"]
    assert task.result == {"words": 3}
    assert task.verdict == HELD
    assert [crumb["to"] for crumb in task.breadcrumbs()] == ["queued", "leased", "running", "claimed_done", "verified"]


def test_an_unknown_id_raises(opened: Session) -> None:
    """Asking a task that does not exist anything raises UnknownTask."""
    with pytest.raises(proofq.UnknownTask):
        _ = Task("nobody").state


@pytest.mark.parametrize("state", sorted(lifecycle.SUCCESS))
def test_wait_returns_the_task_that_succeeded(opened: Session, bench: Bench, state: str) -> None:
    """Verified and finished_unproven are the ends that wait returns from."""
    task = proofq.enqueue("note", NOTE)
    bench.to(task.id, state)
    assert task.wait(timeout_s=5) is task


@pytest.mark.parametrize("state", sorted(lifecycle.TERMINAL - lifecycle.SUCCESS))
def test_wait_raises_for_any_other_end(opened: Session, bench: Bench, state: str) -> None:
    """Failed, quarantined, cancelled and expired raise TaskFailed, which carries the task and says why."""
    task = proofq.enqueue("note", NOTE)
    bench.to(task.id, state)
    with pytest.raises(proofq.TaskFailed, match=state) as caught:
        task.wait(timeout_s=5)
    assert caught.value.task is task
    assert task.failure is not None
    assert task.failure.kind in str(caught.value)


@pytest.mark.parametrize("state", sorted(lifecycle.STATES.keys() - lifecycle.TERMINAL))
def test_wait_times_out_on_what_has_not_ended(opened: Session, bench: Bench, state: str) -> None:
    """Any other state, held included, is no end."""
    task = proofq.enqueue("note", NOTE)
    bench.to(task.id, state)
    with pytest.raises(TimeoutError, match=state):
        task.wait(timeout_s=0.05)


def test_wait_sees_an_end_that_comes_later(opened: Session, bench: Bench) -> None:
    """It follows the task from queued to its end."""
    task = proofq.enqueue("note", NOTE)
    worker = threading.Timer(0.2, bench.verify, [task.id])
    worker.start()
    assert task.wait(timeout_s=20).state == "verified"
    worker.join()


def test_wait_lives_through_an_outage(opened: Session, bench: Bench, redis_server: PrivateServer) -> None:
    """Redis going away and coming back is not the end of waiting."""
    missed = threading.Event()

    class Watched(Task):
        @property
        def state(self) -> str:
            try:
                return super().state
            except proofq.RedisUnavailable:
                missed.set()
                raise

    task = Watched(proofq.enqueue("note", NOTE).id)
    ended: list[str] = []
    waiter = threading.Thread(target=lambda: ended.append(task.wait(timeout_s=30).state))
    waiter.start()
    redis_server.stop()
    assert missed.wait(10)
    redis_server.start()
    bench.verify(task.id)
    waiter.join(30)
    assert ended == ["verified"]


def test_wait_ends_at_its_timeout_although_redis_is_away(opened: Session, redis_server: PrivateServer) -> None:
    """With Redis gone the timeout still holds, and it is told what is the matter."""
    task = proofq.enqueue("note", NOTE)
    redis_server.stop()
    with pytest.raises(proofq.RedisUnavailable):
        task.wait(timeout_s=0.1)


def test_an_agent_enqueues_itself(opened: Session) -> None:
    """`agent.enqueue(...)` and `agent.options(key=).enqueue(...)` give tasks, also before any worker has published."""

    @proofq.agent(unproven=True, name="in_process")
    def agent(ctx: Any, doc: str, pages: int = 3) -> str:
        return doc

    task = agent.options(key="k").enqueue(doc="a")
    assert agent.options(key="k").enqueue(doc="a") == task
    assert agent.enqueue(doc="a") != task
    with pytest.raises(proofq.BadInput):
        agent.enqueue(pages=1)
    with pytest.raises(proofq.KeyConflict):
        agent.options(key="k").enqueue(doc="b")


# --- the session of a process --------------------------------------------------------------------------------------


def test_the_session_is_kept_and_changes_with_its_surroundings(
    opened: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One session while nothing changes; another for another folder, another setting, an edited proofq.toml."""
    assert session.shared() is opened
    monkeypatch.setenv("PROOFQ_DRAIN_S", "5")
    changed = session.shared()
    assert changed is not opened
    config = changed.project.config_path
    assert config is not None
    before_ns = config.stat().st_mtime_ns
    until(lambda: config.write_text('[agents.other]\ncommand = ["true"]\nunproven = true\n') and
          config.stat().st_mtime_ns != before_ns)  # fmt: skip
    assert "other" in session.shared().project.agents
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert session.shared().project.agents == {}


def test_a_redis_that_cannot_be_reached_raises(
    opened: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A named Redis that nobody answers at is RedisUnavailable, never another store."""
    monkeypatch.setenv("PROOFQ_REDIS_URL", f"unix://{tmp_path}/nobody")
    with pytest.raises(proofq.RedisUnavailable):
        proofq.enqueue("note", NOTE)
