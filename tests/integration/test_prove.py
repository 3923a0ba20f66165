"""Which of a task's attempts may have done its work without a trace, so that a file of theirs is no file of before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from proofq.policies.agent import AgentSpec, Proof
from proofq.workers import file_baseline
from proofq.workers.clock import latest_stamp_ns
from proofq.workers.expand import Expander
from proofq.workers.prove import LocalProver
from proofq.workers.record import Task
from proofq.workers.verify import Verifier
from tests.verifiers import HOST, verifier

TASK = Task("t1", "note", "work", "work.note", "leased", {}, 0, 10**15, 86400.0, attempt=3, host=HOST)
#: The first attempt of the task, of which nobody lived to write anything.
UNSEEN = {"n": 1, "host": HOST, "leased_at": 0, "ended_at": 1, "outcome": "lost"}


@pytest.fixture(scope="module")
def processes() -> Iterator[Verifier]:
    """One verifier for all."""
    with verifier() as (one, _):
        yield one


Taken = Callable[..., str]


@pytest.fixture
def taken(processes: Verifier, tmp_path: Path) -> Taken:
    """What the baseline calls a file that was made after these attempts were leased, and before this one."""

    def take(name: str, *attempts: Mapping[str, Any], task: Task = TASK) -> str:
        spec = AgentSpec("note", "command", command=("true",), proofs=(Proof("file", {"path": f"{tmp_path}/{name}"}),))
        since_ns = latest_stamp_ns()
        file_baseline.await_tick("", since_ns)
        (tmp_path / name.replace("{attempt}", str(task.attempt))).write_text("made meanwhile")
        prover = LocalProver(processes, Expander(tmp_path, tmp_path, {}, {}))
        before = prover.baseline(task, spec, lambda: [{"stamp_ns": str(since_ns), **each} for each in attempts])
        (record,) = before.record["files"]
        assert before.tells_again == (record["record"]["kind"] == "absent")
        return str(record["record"]["kind"])

    return take


def test_what_an_unseen_attempt_may_have_made_was_not_there(taken: Taken) -> None:
    """By whatever attempt of them, with others beside it."""
    ended = {**UNSEEN, "n": 2, "outcome": "failed"}
    assert taken("a", UNSEEN, ended) == "absent"
    assert taken("b", {**ended, "n": 1}, {**UNSEEN, "n": 2}) == "absent"


@pytest.mark.parametrize(
    "other",
    [
        {"outcome": "failed"},
        {"outcome": "given_back"},
        {"started_at": 5},
        {"host": "there"},
        {"n": 3},
        {"stamp_ns": str(2**63 - 1)},
    ],
    ids=str,
)
def test_what_was_made_meanwhile_was_there(taken: Taken, other: Mapping[str, Any]) -> None:
    """While it waited to be tried again: who failed before anybody looked has started nothing, and all other ends are
    written with how the world was before. Whoever made the file, the next attempt must do its own work."""
    assert taken("a", {**UNSEEN, **other}) == "file"


def test_an_attempt_that_says_no_time_tells_nothing(taken: Taken) -> None:
    """One of an earlier version, say."""
    spoken = {"n": 1, "host": HOST, "outcome": "lost"}
    assert taken("a") == "file"
    assert taken("b", {**spoken, "stamp_ns": "0"}) == "absent"
    assert taken("c", {**spoken, "stamp_ns": str(latest_stamp_ns() + 10**12)}) == "file"


def test_a_path_of_this_attempt_alone_was_no_unseen_ones_target(taken: Taken) -> None:
    """What stands there somebody made for another reason."""
    assert taken("out-{attempt}", UNSEEN) == "file"


def test_where_nothing_stands_no_records_are_asked_for(processes: Verifier, tmp_path: Path) -> None:
    """They cost a command, and say nothing of it."""
    spec = AgentSpec("note", "command", command=("true",), proofs=(Proof("file", {"path": f"{tmp_path}/none/a"}),))

    def attempts() -> NoReturn:
        raise AssertionError

    prover = LocalProver(processes, Expander(tmp_path, tmp_path, {}, {}))
    assert prover.baseline(TASK, spec, attempts).tells_again
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a").symlink_to("/nowhere")
    assert not prover.baseline(TASK, spec, attempts).tells_again


def test_a_first_attempt_asks_for_no_records(taken: Taken) -> None:
    """There is nothing to be told of any before it."""
    assert taken("a", UNSEEN, task=replace(TASK, attempt=1)) == "file"
