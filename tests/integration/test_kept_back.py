"""What of how the world was before is on record when an agent starts, and what is written with what follows."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, NoReturn

import pytest
import redis

from proofq.policies.agent import AgentSpec, Proof
from proofq.policies.failure import Failure
from proofq.policies.settlement import Limits
from proofq.workers.attempt import AttemptFailed, Attempts
from proofq.workers.clock import latest_stamp_ns
from proofq.workers.life import Wait
from proofq.workers.owner import Owner
from proofq.workers.prover import Before
from proofq.workers.record import Task
from proofq.workers.suspects import Suspects
from tests.heart import AGENT, ISOLATION_MS, Heart, birth

SEEN = {"files": [{"path": "/out"}], "looked": []}
SHA = Proof("file", {"path": "/out", "sha256": "0" * 64})


class Hands:
    """Sees the world as it is told, and what is on record when an agent is to start, which then cannot."""

    def __init__(self, heart: Heart, before: Before) -> None:
        self._heart = heart
        self._before = before
        self.on_record: list[Mapping[str, Any] | None] = []

    def prepare(self, *_: object) -> None:
        return None

    def start(self, *_: object) -> Generator[Wait, bool, NoReturn]:
        yield from ()
        self.on_record.append(self._heart.store.read("t").baseline)
        raise AttemptFailed(Failure("infrastructure", "no process", source="host", phase="start"))

    def transcripts(self, *_: object) -> frozenset[tuple[str, int, int]]:
        return frozenset()

    def baseline(self, *_: object) -> Before:
        return self._before

    def verify(self, *_: object) -> NoReturn:
        raise AssertionError


@pytest.fixture
def heart(redis_client: redis.Redis) -> Heart:
    """One owner, one task."""
    made = Heart(redis_client)
    made.enlist("o")
    made.store.enqueue(birth("t"))
    return made


def _attempted(heart: Heart, before: Before, *, look_first: bool = False) -> tuple[Mapping[str, Any] | None, Task]:
    """What was on record when the agent was to start, and the task once that was written."""
    hands = Hands(heart, before)
    spec = AgentSpec(AGENT, "command", command=("true",), proofs=(SHA,), look_first=look_first)
    owner = Owner(heart.store, "o", ISOLATION_MS / 1000, lambda: None, lambda *_: None)
    Attempts(
        heart.door, owner, hands, hands, {AGENT: spec}, Limits(), "worker", heart.clock, lambda: False,
        Suspects(heart.clock),
    ).run(heart.held())  # fmt: skip
    (on_record,) = hands.on_record
    return on_record, heart.store.read("t")


def test_what_can_be_told_again_is_written_with_what_follows(heart: Heart) -> None:
    """With the failure here: a later attempt is judged by it as by any other."""
    on_record, task = _attempted(heart, Before(SEEN, tells_again=True))
    assert (on_record, task.baseline) == (None, SEEN)
    assert heart.events()[-2:] == ["baseline", "defer"]


@pytest.mark.parametrize(("tells_again", "look_first"), [(False, False), (True, True)])
def test_all_else_is_on_record_before_anything_starts(heart: Heart, tells_again: bool, look_first: bool) -> None:
    """What only the record says, and what decides of an attempt that nobody saw end."""
    on_record, task = _attempted(heart, Before(SEEN, tells_again), look_first=look_first)
    assert on_record == task.baseline == SEEN


def test_a_lease_says_when_it_was_by_its_hosts_clock(heart: Heart) -> None:
    """What a file of an attempt that nobody saw is compared with."""
    before_ns = latest_stamp_ns()
    heart.held()
    (record,) = heart.store.attempts("t")
    assert before_ns <= int(record["stamp_ns"]) <= latest_stamp_ns()


def test_nothing_new_is_not_written(heart: Heart) -> None:
    """No proof has a target, say."""
    on_record, task = _attempted(heart, Before({"files": [], "looked": []}, tells_again=False))
    assert on_record is task.baseline is None
    assert "baseline" not in heart.events()
