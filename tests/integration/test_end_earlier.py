"""What an earlier attempt of a task left on this host: who is ended for it, and who is spared."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proofq.policies.agent import AgentSpec
from proofq.workers import host, keys, killing, proctree, serve
from proofq.workers.answering import Answering
from proofq.workers.attempt import AttemptFailed
from proofq.workers.clock import SystemClock
from proofq.workers.expand import Expander
from proofq.workers.host import StillAlive
from proofq.workers.life import through
from proofq.workers.perform import LocalPerformer, Prepared
from proofq.workers.record import Task
from tests.heart import Heart, birth
from tests.spawning import Bench, alive, config


@pytest.fixture
def task(redis_client: Any) -> Task:
    """A task at its second attempt."""
    heart = Heart(redis_client)
    heart.enlist("o")
    heart.store.enqueue(birth("t"))
    return replace(heart.held().task, attempt=2, inputs={})


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that nobody else ends."""
    with subprocess.Popen(["sleep", "60"]) as one:
        yield one
        one.kill()


@pytest.mark.parametrize(
    ("shared", "outcome", "ours", "ends"),
    [
        (False, "lost", False, True),
        (False, "failed", False, True),
        (True, "failed", False, False),
        (True, "given_back", False, False),
        (True, "lost", False, True),
        (True, "lost", True, False),
    ],
)
def test_a_process_that_others_share_is_ended_only_for_an_attempt_that_was_lost(
    redis_client: Any, task: Task, process: subprocess.Popen[bytes], shared: bool, outcome: str, ours: bool, ends: bool
) -> None:
    """By the record; and never where our own forkserver has it, whose attempts are ended by number."""
    one = proctree.identity(process.pid)
    record = {"n": 1, "host": host.host_name(), "pid": one.pid, "start_ticks": one.start_ticks, "outcome": outcome}
    redis_client.hset(keys.attempts("t"), "1", json.dumps({**record, **({"shared": True} if shared else {})}))
    forkserver = os.getpid() if ours else 1
    serve._end_earlier(Heart(redis_client).store, host.LocalHost(), forkserver, task)
    assert (alive([process.pid]) == []) == ends


class _Deathless:
    """A host on which nothing dies: a sleep in the kernel cannot be made to order."""

    def kill_attempt(self, pid: int, start_ticks: int) -> None:
        raise StillAlive(f"processes of an earlier attempt would not die: [{pid}]")


def test_a_host_says_what_will_not_die(process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree that outlives its killing is no tree that was ended."""
    monkeypatch.setattr(killing, "kill_tree", lambda pids, **_: list(pids))
    one = proctree.identity(process.pid)
    with pytest.raises(StillAlive, match=str(process.pid)):
        host.LocalHost().kill_attempt(one.pid, one.start_ticks)


def test_no_attempt_starts_beside_what_will_not_die(
    redis_client: Any, task: Task, process: subprocess.Popen[bytes]
) -> None:
    """It waits and is tried again, uncounted; nobody's task is to blame."""
    one = proctree.identity(process.pid)
    record = {"n": 1, "host": host.host_name(), "pid": one.pid, "start_ticks": one.start_ticks, "outcome": "lost"}
    redis_client.hset(keys.attempts("t"), "1", json.dumps(record))
    with pytest.raises(AttemptFailed, match="would not die") as caught:
        serve._end_earlier(Heart(redis_client).store, _Deathless(), 1, task)  # type: ignore[arg-type]
    assert (caught.value.failure.kind, caught.value.failure.retry_after_s) == ("infrastructure", serve.ALIVE_AGAIN_S)


def test_what_a_slot_of_ours_still_runs_is_ended_by_number(tmp_path: Path, task: Task) -> None:
    """A lease was lost and the task leased again by the same worker: its first attempt is dead before the second."""
    bench = Bench(config())
    try:
        expander = Expander(tmp_path, tmp_path / "state", {}, os.environ)
        performer = LocalPerformer(bench.spawner, expander, lambda _: None, Answering({}, SystemClock()))
        spec = AgentSpec("sleeps", "function", inputs_schema={"type": "object"}, reuse=9)

        def start(prepared: Prepared) -> Any:
            return through(performer.start(prepared, {}, 10.0), SystemClock())

        first = start(performer.prepare(replace(task, attempt=1), spec, None))
        neighbour = start(performer.prepare(replace(task, id="n", attempt=1), spec, None))
        second = performer.prepare(task, spec, None)
        assert alive([first.pid, neighbour.pid]) == [neighbour.pid]
        assert first.ending().killed_by == "lost"
        assert start(second).shared is False
        assert performer._reusing.keys() == {"n"}
    finally:
        bench.spawner.close()
