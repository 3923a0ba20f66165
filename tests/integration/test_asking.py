"""Questions of attempts: over a real forkserver and its children, answered by handlers of the tests."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from proofq.workers.answering import MAX_OPEN, Answering
from proofq.workers.asking import MAX_VALUE_BYTES, Questions
from proofq.workers.async_hosts import AsyncHosts
from proofq.workers.async_running import AsyncRunning
from proofq.workers.clock import SystemClock
from proofq.workers.errors import BadInput, Error, NoAnswer, RedisUnavailable
from proofq.workers.output import both_ways
from tests.spawning import ENV, Bench, config, function
from tests.waiting import until

FENCE = "1-aaaa"


class Desk:
    """An `Answering` whose handlers are the tests', and the one lease it knows of."""

    def __init__(self) -> None:
        self.held: Any = SimpleNamespace(fence=FENCE, stopped=None)
        self.go = threading.Event()
        self.seen: list[Any] = []
        handlers = {
            "echo": self._echo,
            "wait": self._wait,
            "raise": self._raise,
            "large": self._large,
            "bug": self._bug,
        }
        self.answering = Answering(handlers, SystemClock())
        self.answering.open(lambda: [self.held])

    def _echo(self, question: Any) -> Any:
        self.seen.append(question.args)
        return {"fence": question.held.fence, "got": question.args}

    def _wait(self, question: Any) -> Any:
        self.seen.append(question.args)
        while not self.go.wait(0.01):
            if question.give_up():
                raise RedisUnavailable("Redis is away.")
        return "late"

    def _raise(self, question: Any) -> Any:
        raise BadInput("That is not how it is asked.")

    def _large(self, question: Any) -> Any:
        return "x" * question.args["bytes"]

    def _bug(self, question: Any) -> Any:
        raise ZeroDivisionError


@pytest.fixture
def desk():
    """A desk that is closed at the end."""
    one = Desk()
    yield one
    one.go.set()
    one.answering.close()


@pytest.fixture(scope="module")
def bench():
    """A spawner for children that end well."""
    bench = Bench(config())
    yield bench
    bench.spawner.close()


def asks(desk, agent="asks", **inputs):
    """The request of a child whose questions come to the desk."""
    return replace(function(agent, **inputs), on_ask=partial(desk.answering.take, FENCE))


def result(running):
    """What a child returned."""
    assert running.wait_ended(30)
    return running.ended.report["result"]


@pytest.mark.parametrize("thread", [False, True])
def test_a_child_is_answered(bench, desk, thread):
    """Forked or a fresh interpreter: each with the lease it is held by; errors under their own class."""
    own = Bench(config(thread=True)) if thread else bench
    try:
        said = result(
            own.spawner.spawn(asks(desk, ops=[["echo", {"a": "é"}], ["raise", {}], ["bug", {}], ["none", {}]]))
        )
    finally:
        if thread:
            own.spawner.close()
    assert said[0] == ["value", {"fence": FENCE, "got": {"a": "é"}}]
    assert said[1] == ["BadInput", "That is not how it is asked."]
    assert said[2] == ["Error", "bug failed in the worker: ZeroDivisionError"]
    assert said[3][0] == "BadInput"


def test_a_child_used_again_asks_anew(bench, desk):
    """Each attempt of a reused child has its own socket, and leaves nothing in it to the next."""
    request = replace(asks(desk, ops=[["echo", {"n": 1}]]), reuse=("asks", 9))
    first, second = bench.spawner.spawn(request), None
    assert result(first)[0][0] == "value"
    second = bench.spawner.spawn(request)
    assert result(second) == result(first)
    assert second.pid == first.pid


@pytest.fixture
def hosts(bench, tmp_path):
    """The hosts of async agents."""
    one = AsyncHosts(bench.spawner, tmp_path / "hosts", SystemClock(), 10.0)
    started = []

    def run(desk, fence=FENCE, **inputs):
        host = one.of("asks_async", lambda: ENV, (), single=False)
        attempt = AsyncRunning(lambda: (tmp_path / "out", tmp_path / "err"), ())
        attempt.on_ask = partial(desk.answering.take, fence, partial(host.answer, attempt))
        told = {"inputs": inputs, "task_id": "t", "attempt": 1, "workdir": "/", "taskdir": "/", "ticks": []}
        host.run(attempt, told)
        started.append(host)
        return attempt

    yield run
    for host in started:
        host._process.kill("test", 0.0)
        host._process.wait_ended(20)
    one.close()


def test_async_attempts_ask_many_at_once(desk, hosts):
    """Each answer comes to the question it is of, of the attempt it is of; one that is late is nobody's."""
    ops = [["wait", {}], *(["echo", {"n": n}] for n in range(5)), ["raise", {}]]
    first, second = hosts(desk, ops=ops, within_s=2.0), hosts(desk, ops=[["echo", {"m": 1}]])
    assert second.wait_ended(20)
    assert first.wait_ended(20)
    assert second.ending().report["result"] == [["value", {"fence": FENCE, "got": {"m": 1}}]]
    said = first.ending().report["result"]
    assert said[0][0] in {"RedisUnavailable", "NoAnswer"}
    assert said[1:6] == [["value", {"fence": FENCE, "got": {"n": n}}] for n in range(5)]
    assert said[6][0] == "BadInput"


def test_an_async_attempt_is_cancelled_in_the_middle_of_a_question(desk, hosts):
    """It ends as cancelled, and its host lives on."""
    attempt = hosts(desk, ops=[["wait", {}]])
    until(lambda: desk.seen, 10.0, "the question")
    attempt.kill("test")
    assert attempt.wait_ended(20)
    desk.go.set()
    after = hosts(desk, ops=[["echo", {}]])
    assert after.wait_ended(20)
    assert after.ending().report["result"][0][0] == "value"
    assert after.pid == attempt.pid


def test_threads_of_a_child_take_turns(bench, desk):
    """Many threads ask at once, and each gets its own answer."""
    said = result(bench.spawner.spawn(asks(desk, agent="asks_in_threads", count=20)))
    assert said == [["value", {"fence": FENCE, "got": {"n": n}}] for n in range(20)]


def test_large_answers_come_whole_and_larger_ones_are_refused(bench, desk):
    """Sixty KiB pass a socket in pieces; what is over the cap is an error that says so."""
    ops = [["large", {"bytes": MAX_VALUE_BYTES - 2}]] * 6 + [["large", {"bytes": MAX_VALUE_BYTES}]]
    said = result(bench.spawner.spawn(asks(desk, ops=ops)))
    assert [len(one[1]) for one in said[:6]] == [MAX_VALUE_BYTES - 2] * 6
    assert said[6][0] == "Error"
    assert "over" in said[6][1]


def test_no_answer_in_time(bench, desk):
    """The child goes on with an error of ours; the answer that comes late is nobody's."""
    request = asks(desk, ops=[["wait", {}], ["echo", {}]], within_s=1.0)
    running = bench.spawner.spawn(request)
    said = result(running)
    assert said[0][0] in {"RedisUnavailable", "NoAnswer"}
    assert said[1] == ["value", {"fence": FENCE, "got": {}}]


def test_a_lost_lease_is_answered_with_a_refusal(bench, desk):
    """Whoever does not hold the task, or is being stopped, gets nothing done."""
    desk.held.stopped = "lost"
    assert result(bench.spawner.spawn(asks(desk, ops=[["echo", {}]])))[0][0] == "LeaseLost"
    desk.held = SimpleNamespace(fence="2-bbbb", stopped=None)
    assert result(bench.spawner.spawn(asks(desk, ops=[["echo", {}]])))[0][0] == "LeaseLost"
    assert desk.seen == []


def test_killed_in_the_middle_of_a_question(bench, desk):
    """Its end is seen as ever, and its answer goes nowhere."""
    running = bench.spawner.spawn(asks(desk, ops=[["wait", {}]]))
    until(lambda: desk.seen, 10.0, "the question")
    running.kill("test", 0.0)
    assert running.wait_ended(20)
    assert running.ended.killed_by == "test"
    desk.go.set()
    until(lambda: not desk.answering._open, 10.0, "the end of the question")
    assert result(bench.spawner.spawn(asks(desk, ops=[["echo", {}]])))[0][0] == "value"


def test_only_so_many_questions_at_a_time(desk):
    """One attempt that writes to its report itself cannot fill the desk."""
    answers: list[Any] = []
    for number in range(MAX_OPEN + 3):
        said = {"n": number, "op": "wait", "within_s": 30.0, "args": {}}
        desk.answering.take(FENCE, answers.append, said)
    shapes: list[Any] = [None, [], {"n": "1"}, {"n": 1, "op": 2, "within_s": 1, "args": {}}, {"n": 1, "op": "echo"}]
    for broken in shapes:
        desk.answering.take(FENCE, answers.append, broken)
    desk.go.set()
    until(lambda: len(answers) == MAX_OPEN + 3, 10.0, "all answers")
    assert sorted(answer["n"] for answer in answers if "error" in answer) == [8, 9, 10]
    assert not desk.answering._open


def test_a_child_that_reads_no_answer_costs_a_bound(bench, desk):
    """Answers wait up to a cap; the pump goes on, and the child's end is seen."""
    running = bench.spawner.spawn(asks(desk, agent="asks_and_never_reads", count=60, args={"bytes": 60_000}))
    assert result(running) == "asked"
    assert result(bench.spawner.spawn(asks(desk, ops=[["echo", {}]])))[0][0] == "value"


def test_the_supervisor_is_gone():
    """No answer will come, and that is said at once."""
    ours, theirs = both_ways()
    questions = Questions(theirs, lambda key, body: None)
    os.close(ours)
    began = time.monotonic()
    with pytest.raises(NoAnswer):
        questions.ask("echo", b"{}", 20.0)
    assert time.monotonic() - began < 10
    os.close(theirs)


def test_only_where_the_attempt_began(bench, desk):
    """A process that the agent forked is told to ask before it forks."""
    said = result(bench.spawner.spawn(asks(desk, agent="asks_in_a_fork")))
    assert said == "echo can only be asked in the attempt's own process; do it before the work is forked."


def test_too_long_a_question_is_refused_before_it_is_sent():
    """Nothing is written."""
    with pytest.raises(Error, match="at most"):
        Questions(-1, lambda key, body: None).ask("echo", b'"' + b"x" * 70_000 + b'"', 1.0)
