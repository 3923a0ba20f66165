"""A key of a task stays damaged: who holds the task waits for a while, then lets go with nothing left running."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Generator
from typing import Any

import pytest
import redis

from proofq.policies.agent import AgentSpec
from proofq.policies.ended import Ending
from proofq.policies.settlement import Limits
from proofq.policies.verdict import Verdict
from proofq.workers import door as doors
from proofq.workers import keys
from proofq.workers.attempt import Attempts
from proofq.workers.clock import SystemClock
from proofq.workers.life import Wait
from proofq.workers.owner import ORPHAN_BEATS, Owner
from proofq.workers.prover import Before
from proofq.workers.scripts import DamagedKey
from proofq.workers.store import Store
from proofq.workers.suspects import Suspects
from tests.heart import AGENT, CLAIM, ISOLATION_MS, Heart, birth


class Sleeper:
    """A real process that ends by itself long after the test."""

    start_ticks = 1
    shared = False
    heard_s = 0.0
    started_s = 0.0
    progress: tuple[int, Any] = (0, None)

    def __init__(self) -> None:
        self._process = subprocess.Popen(["sleep", "60"])
        self.pid = self._process.pid
        self.killed_by = ""

    def kill(self, reason: str) -> None:
        self.killed_by = self.killed_by or reason
        self._process.kill()

    def wait_ended(self, timeout_s: float | None) -> bool:
        try:
            return self._process.wait(timeout_s) is not None
        except subprocess.TimeoutExpired:
            return False

    def when_ended(self, call: Callable[[], None]) -> None:
        raise AssertionError("the test waits")

    def ending(self) -> Ending:
        return Ending(None, 9, self.killed_by)

    @property
    def runs(self) -> bool:
        return self._process.poll() is None


class Hands:
    """Starts sleepers, and damages the task in the moment before its start is written."""

    def __init__(self, heart: Heart) -> None:
        self._heart = heart
        self.started: list[Sleeper] = []

    def prepare(self, *_: object) -> None:
        return None

    def start(self, *_: object) -> Generator[Wait, bool, Sleeper]:
        yield from ()
        self._heart.client.set(keys.crumbs("t"), "stranger")
        self.started.append(Sleeper())
        return self.started[-1]

    def transcripts(self, *_: object) -> frozenset[tuple[str, int, int]]:
        return frozenset()

    def baseline(self, *_: object) -> Before:
        return Before({}, tells_again=True)

    def verify(self, *_: object) -> Verdict:
        raise AssertionError


@pytest.fixture
def heart(redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Heart:
    """One owner, one task, and little patience with damage."""
    monkeypatch.setattr(doors, "DAMAGED_S", 0.3)
    made = Heart(redis_client)
    made.enlist("o")
    made.store.enqueue(birth("t"))
    return made


@pytest.mark.timeout(30)
def test_who_settles_lets_go_of_a_damaged_task(heart: Heart) -> None:
    """Though nothing else tells it to give up; the lease is still its own, and settles once the key is mended."""
    lease = heart.running()
    heart.client.rename(keys.crumbs("t"), "aside")
    heart.client.set(keys.crumbs("t"), "stranger")
    with pytest.raises(DamagedKey):
        heart.door.settle(lease, CLAIM, lambda: False)
    heart.client.delete(keys.crumbs("t"))
    heart.client.rename("aside", keys.crumbs("t"))
    assert heart.settled(lease, CLAIM).state == "claimed_done"


@pytest.mark.timeout(30)
def test_what_cannot_be_written_down_does_not_run_on(heart: Heart) -> None:
    """The start of an agent cannot be written: its process is dead when the slot lets go of the task."""
    hands, spec = Hands(heart), AgentSpec(AGENT, "command", command=("true",), unproven=True)
    owner = Owner(heart.store, "o", ISOLATION_MS / 1000, lambda: None, lambda *_: None)
    attempts = Attempts(
        heart.door, owner, hands, hands, {AGENT: spec}, Limits(), "worker", heart.clock, lambda: False,
        Suspects(heart.clock),
    )  # fmt: skip
    try:
        heart.client.delete(keys.crumbs("t"))
        with pytest.raises(DamagedKey):
            attempts.run(heart.held())
        assert [one.runs for one in hands.started] == [False]
        assert owner.holding() == []
    finally:
        for one in hands.started:
            one.kill("test")
            one.wait_ended(10)


class ByHand(SystemClock):
    """A boot clock that stands still until it is moved."""

    now_s = 1000.0

    def boottime(self) -> float:
        return self.now_s


def test_an_orphan_is_handed_over_again(heart: Heart) -> None:
    """A lease that no slot knows of is offered after so many beats, and again while it stands; beats that were rung for
    are no time in which a call would have ended."""
    orphans: list[tuple[str, str]] = []
    clock = ByHand()
    store = Store(heart.client, heart.runner, clock)
    owner = Owner(store, "o", ISOLATION_MS / 1000, lambda: None, lambda *one: orphans.append(one))
    fence = heart.held().fence
    for _ in range(3 * ORPHAN_BEATS):
        owner.beat()
    assert orphans == []
    clock.now_s += 60.0
    owner.beat()
    for beat in range(2 * ORPHAN_BEATS):
        assert len(orphans) == 1 + beat // ORPHAN_BEATS
        clock.now_s += 1.0
        owner.beat()
    assert orphans == [("t", fence)] * 3


def test_a_lease_that_comes_after_all_were_stopped_begins_nothing(heart: Heart) -> None:
    """It was asked for before its worker's drain was over: given back at once, uncounted, nothing started. One that was
    taken over is judged as ever."""
    hands, spec = Hands(heart), AgentSpec(AGENT, "command", command=("true",), unproven=True)
    owner = Owner(heart.store, "o", ISOLATION_MS / 1000, lambda: None, lambda *_: None)
    attempts = Attempts(
        heart.door, owner, hands, hands, {AGENT: spec}, Limits(), "worker", heart.clock, lambda: False,
        Suspects(heart.clock),
    )  # fmt: skip
    owner.stop_all("drain")
    assert attempts.run(heart.held()) is None
    assert hands.started == []
    task = heart.store.read("t")
    assert (task.state, task.counted, task.pickups) == ("queued", 0, 0)
    assert heart.events()[-1] == "give_back"
    claimed = heart.claimed()
    assert owner.hold(claimed).stopped is None
    attempts.adopt(claimed)
    assert heart.store.read("t").state == "finished_unproven"
