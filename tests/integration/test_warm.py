"""Warm verifiers that hang, die, wear out or are left alone."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from proofq.policies.agent import Proof
from proofq.workers import warm as warm_pool
from proofq.workers.known_folders import KnownFolders
from proofq.workers.verify import Question, Verifier
from proofq.workers.warm import Started, Unanswered, WarmPool
from proofq.workers.wire import Channel
from tests.files import await_ticks
from tests.verifiers import HOST, VerifierProcesses, no_command, no_python, verifier
from tests.waiting import until

#: Takes Python's `re` some years on a value of forty letters.
ENDLESS = {"type": "object", "properties": {"a": {"pattern": "^(a+)+$"}}}
ENDLESS_VALUE = {"a": "a" * 40 + "!"}


#: A second of computing may take long on a busy host.
BUSY_WITHIN_S = 40.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The attempt's directory."""
    return tmp_path


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is a process's to look at."""
    monkeypatch.setattr(KnownFolders, "learn", lambda *_: None)


@pytest.fixture
def warm() -> Iterator[tuple[Verifier, VerifierProcesses]]:
    """A verifier with its processes."""
    with verifier() as both:
        yield both


def _question(folder: Path, *proofs: Proof, claim: Any = None) -> Question:
    return Question(proofs, HOST, str(folder), str(folder), str(folder), {}, claim=claim)


def _ready(one: Verifier, question: Question) -> Question:
    baseline = one.baseline(question, 20)
    assert baseline.outcome == "ready", baseline
    await_ticks(baseline.record, HOST)
    return replace(question, record=baseline.record)


OUT = Proof("file", {"path": "out.md"})


def test_a_proof_that_outruns_its_deadline_cannot_tell(warm: tuple[Verifier, VerifierProcesses], folder: Path) -> None:
    """Its process is killed, the other proofs of the attempt are run in a new one."""
    one, processes = warm
    endless = Proof("json", {"schema": ENDLESS})
    question = _ready(one, _question(folder, endless, OUT, claim=ENDLESS_VALUE))
    (folder / "out.md").write_text("hello")
    begun = time.monotonic()
    verdict = one.verify(question, 0.5)
    assert time.monotonic() - begun < 20
    assert [result.outcome for result in verdict.proofs] == ["cannot_tell", "verified"]
    assert "longer than the 0.5 s" in verdict.reason
    assert processes.processes[0].wait(10) < 0
    assert len(processes.processes) == 2


@pytest.mark.timeout(240)
def test_a_hanging_proof_does_not_hold_up_the_others(warm: tuple[Verifier, VerifierProcesses], folder: Path) -> None:
    """While one proof runs towards its deadline others are answered."""
    one, processes = warm
    question = _ready(one, _question(folder, OUT))
    (folder / "out.md").write_text("hello")
    hanging = _question(folder, Proof("json", {"schema": ENDLESS}), claim=ENDLESS_VALUE)
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.append(one.verify(hanging, 100).outcome))
    thread.start()
    until(lambda: _is_busy(processes.processes[0]), BUSY_WITHIN_S, "the endless proof")
    assert one.verify(question, 20).outcome == "verified"
    assert seen == []
    # The first death may be one of old age, the next two are the request's doing.
    for _ in range(3):
        busy = until(
            lambda: [each for each in processes.processes if _is_busy(each)], BUSY_WITHIN_S, "the endless proof"
        )
        busy[0].kill()
        busy[0].wait()
    thread.join(BUSY_WITHIN_S)
    assert seen == ["cannot_tell"]


def _is_busy(process: subprocess.Popen[bytes]) -> bool:
    """Whether it lives and computes: it runs, and has used more than it takes to start."""
    if process.poll() is not None:
        return False
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0] == "R" and int(fields[11]) > 0.7 * os.sysconf("SC_CLK_TCK")


def test_a_verifier_killed_between_requests_costs_nothing(
    warm: tuple[Verifier, VerifierProcesses], folder: Path
) -> None:
    """kill -9 of the idle process: the next request goes to a new one."""
    one, processes = warm
    question = _ready(one, _question(folder, OUT))
    (folder / "out.md").write_text("hello")
    for expected in range(1, 6):
        assert one.verify(question, 20).outcome == "verified"
        assert len(processes.processes) == expected
        processes.processes[-1].kill()
        processes.processes[-1].wait()


def test_a_verifier_killed_while_eight_threads_ask(folder: Path) -> None:
    """Random kills: no thread ever gets a wrong answer, nor one that belongs to another."""
    with verifier() as (one, processes):
        question = _ready(one, _question(folder, OUT))
        (folder / "out.md").write_text("hello")
        over = threading.Event()
        seen: list[tuple[int, str, Any]] = []

        def ask(number: int) -> None:
            claim = _question(folder, Proof("json", {"schema": {"const": number}}), claim=number)
            while not over.is_set():
                seen.append((number, one.verify(question, 20).outcome, one.verify(claim, 20).outcome))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for killed in range(1, 11):
            until(lambda killed=killed: len(processes.processes) > killed, what="a new process")  # type: ignore[misc]
            count = len(seen)
            until(lambda count=count: len(seen) > count + 20, what="answers")  # type: ignore[misc]
            for process in processes.processes[-2:]:
                process.kill()
        over.set()
        for thread in threads:
            thread.join(20)
        assert {outcome for _, *both in seen for outcome in both} <= {"verified", "cannot_tell"}
        assert sum(first == second == "verified" for _, first, second in seen) > 0.9 * len(seen)


def test_a_request_that_kills_twice_cannot_be_told(folder: Path) -> None:
    """A process that dies of a request is replaced once, then it is the request."""
    started: list[socket.socket] = []

    def start() -> Started:
        ours, theirs = socket.socketpair()
        channel = Channel(theirs)
        channel.send({"id": 0, "ready": True})
        # Nobody reads: the other end closes as that of a process that dies.
        theirs.shutdown(socket.SHUT_RDWR)
        started.append(theirs)
        return Started(ours, theirs.close)

    one = Verifier(HOST, start, no_python, no_command)
    verdict = one.verify(_question(folder, Proof("json", {}), claim=1), 20)
    assert verdict.outcome == "cannot_tell"
    assert "died of it twice" in verdict.reason
    assert len(started) == 2


def test_where_none_can_be_started_nothing_is_known(folder: Path) -> None:
    """Without a forkserver there are no proofs, and no exception either."""

    def start() -> Started:
        raise OSError("the forkserver is gone")

    one = Verifier(HOST, start, no_python, no_command)
    one.warm_up()
    assert one.verify(_question(folder, Proof("json", {}), claim=1), 20).outcome == "cannot_tell"
    baseline = one.baseline(_question(folder, OUT), 20)
    assert (baseline.outcome, "forkserver" in baseline.reason) == ("cannot_tell", True)


def test_one_that_was_started_ahead_answers_the_first_request(
    warm: tuple[Verifier, VerifierProcesses], folder: Path
) -> None:
    """Warming up starts one process before anybody asks, and the first question goes to it."""
    one, processes = warm
    one.warm_up()
    assert len(processes.processes) == 1
    assert _ready(one, _question(folder, OUT))
    assert len(processes.processes) == 1


def test_one_that_was_started_ahead_and_died_is_replaced(
    warm: tuple[Verifier, VerifierProcesses], folder: Path
) -> None:
    """Its death costs the first request nothing."""
    one, processes = warm
    one.warm_up()
    processes.end()
    assert _ready(one, _question(folder, OUT))
    assert len(processes.processes) == 2


def test_a_verifier_is_recycled(folder: Path) -> None:
    """After so many answers a process makes room for a new one."""
    with verifier(processes=1, recycle_after=3) as (one, processes):
        for _ in range(7):
            assert one.verify(_question(folder, Proof("json", {}), claim=1), 20).outcome == "verified"
        assert len(processes.processes) == 3
        assert [process.wait(10) < 0 for process in processes.processes[:2]] == [True, True]


def test_a_verifier_leaves_with_its_supervisor(folder: Path) -> None:
    """When the other end closes it ends by itself, with code 0."""
    processes = VerifierProcesses()
    started = processes.start()
    channel = Channel(started.sock)
    assert next(iter(channel.receive(30))).body == {"id": 0, "ready": True}
    channel.close()
    assert processes.processes[0].wait(10) == 0


def test_a_verifier_imports_nothing_of_where_it_stands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files called json.py or proofq.py in the current directory are not run."""
    for name in ("json.py", "proofq.py", "jsonschema.py", "socket.py"):
        (folder / name).write_text("raise SystemExit(7)\n")
    monkeypatch.chdir(folder)
    with verifier() as (one, _):
        question = _question(folder, Proof("json", {"schema": {"type": "integer"}}), claim=1)
        assert one.verify(question, 20).outcome == "verified"


def test_eight_who_ask_at_once_share_a_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is busy, or comes up, is waited for: starting another takes longer than its answer."""
    # Whatever this machine takes to start a Python.
    for patience in ("UP_S", "SOON_S"):
        monkeypatch.setattr(warm_pool, patience, 30.0)
    with verifier() as (one, processes):
        seen: list[str] = []
        claim = _question(folder, Proof("json", {"schema": {"const": 1}}), claim=1)
        for _ in range(2):
            threads = [threading.Thread(target=lambda: seen.append(one.verify(claim, 20).outcome)) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(40)
        assert seen == ["verified"] * 16
        assert len(processes.processes) == 1


def test_who_waits_for_an_answer_is_told_so(warm: tuple[Verifier, VerifierProcesses], folder: Path) -> None:
    """Before a process that has yet to come up and while a proof computes; not where the answer comes at once."""
    one, _ = warm
    claim = _question(folder, Proof("json", {"schema": {"const": 1}}), claim=1)
    late: list[str] = []
    assert one.verify(claim, 20, lambda: late.append("starting")).outcome == "verified"
    assert set(late) == {"starting"}
    endless = _question(folder, Proof("json", {"schema": ENDLESS}), claim=ENDLESS_VALUE)
    one.verify(endless, 0.5, lambda: late.append("computing"))
    assert late.count("computing") == 1
    one.verify(claim, 20)
    prompt = [one.verify(claim, 20, lambda: late.append("prompt")).outcome for _ in range(20)]
    assert prompt == ["verified"] * 20
    assert late.count("prompt") < 20


class Silent:
    """Processes that answer only when the test says so."""

    def __init__(self) -> None:
        self.ends: list[Channel] = []

    def start(self) -> Started:
        ours, theirs = socket.socketpair()
        self.ends.append(Channel(theirs))
        self.ends[-1].send({"id": 0, "ready": True})
        return Started(ours, lambda: None)

    def answer(self, end: Channel) -> None:
        """What it is asked next."""
        end.send({"id": next(iter(end.receive(10))).body["id"]})


def test_who_waits_for_a_busy_one_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before another one is started, too: a claim that is kept back must not wait for that."""
    monkeypatch.setattr(warm_pool, "SOON_S", 600.0)
    monkeypatch.setattr(warm_pool, "UP_S", 600.0)
    processes, told = Silent(), threading.Event()
    pool = WarmPool(processes.start)
    threads = [threading.Thread(target=pool.ask, args=({}, 60, late), daemon=True) for late in (int, told.set)]
    threads[0].start()
    until(lambda: processes.ends, 10, "the first one")
    threads[1].start()
    assert told.wait(10)
    for _ in threads:
        processes.answer(processes.ends[0])
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert len(processes.ends) == 1
    pool.close()


def _waits(pool: WarmPool, count: int) -> bool:
    """Whether so many wait for a process, by what Python's condition keeps of them."""
    return len(vars(pool)["_changed"]._waiters) == count


def test_the_room_of_one_that_died_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """By whoever may start another one, although somebody who may not has waited for longer."""
    processes, told = Silent(), [threading.Event(), threading.Event()]
    pool = WarmPool(processes.start, size=1)

    def kills() -> None:
        with pytest.raises(Unanswered, match="died of it twice"):
            pool.ask({}, 60)

    killer = threading.Thread(target=kills, daemon=True)
    killer.start()
    until(lambda: processes.ends, 10, "the first one")
    others = [threading.Thread(target=pool.ask, args=({}, 60, late.set), daemon=True) for late in told]
    for number, soon_s in enumerate((600.0, 0.0)):
        monkeypatch.setattr(warm_pool, "SOON_S", soon_s)
        monkeypatch.setattr(warm_pool, "UP_S", soon_s)
        others[number].start()
        assert told[number].wait(10)
        until(partial(_waits, pool, number + 1), 10, "who waits")
    for number in (0, 1):
        until(lambda number=number: len(processes.ends) > number, 10, "another one")  # type: ignore[misc]
        processes.ends[number].close()
    until(lambda: len(processes.ends) == 3, 10, "one in the room of those that died")
    for _ in others:
        processes.answer(processes.ends[2])
    for thread in (killer, *others):
        thread.join(10)
        assert not thread.is_alive()
    pool.close()
