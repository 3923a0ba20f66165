"""The verifier over real processes: baselines, verdicts, deadlines, deaths and replacement."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proofq.policies.agent import Proof
from proofq.workers import python_proof
from proofq.workers.verify import Question, Verifier
from proofq.workers.warm import Started
from proofq.workers.wire import Channel
from tests.verifiers import HOST, VerifierProcesses, verifier
from tests.waiting import until

#: Takes Python's `re` some years on a value of forty letters.
ENDLESS = {"type": "object", "properties": {"a": {"pattern": "^(a+)+$"}}}
ENDLESS_VALUE = {"a": "a" * 40 + "!"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The attempt's directory, which is its task's too."""
    return tmp_path


@pytest.fixture
def warm() -> Iterator[tuple[Verifier, VerifierProcesses]]:
    """A verifier with its processes, python proofs run right here."""
    with verifier(_run_here) as both:
        yield both


def _run_here(function: str, facts: Mapping[str, Any], timeout_s: float) -> Mapping[str, Any]:
    if function == "slow:proof":
        raise TimeoutError
    if function == "broken:runner":
        raise OSError("no process could be started")
    return python_proof.run(function, json.loads(json.dumps(facts)), str(facts["taskdir"]))


@pytest.fixture
def imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python_proof.run` changes where it is and what can be imported; that is undone."""
    import sys

    monkeypatch.chdir(Path.cwd())
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))


def _question(folder: Path, *proofs: Proof, **more: Any) -> Question:
    return Question(proofs, HOST, str(folder), str(folder), str(folder), {}, **more)


def _file(path: str = "out.md", must_change: bool = False, **options: Any) -> Proof:
    return Proof("file", {"path": path, **options}, must_change)


def _ready(one: Verifier, question: Question) -> Question:
    baseline = one.baseline(question, 20)
    assert baseline.outcome == "ready", baseline
    # It is stored as text between the two.
    return replace(question, record=json.loads(json.dumps(baseline.record)))


# --- file and json ---


def test_a_claim_is_proven_by_what_stands_on_the_disk(warm: tuple[Verifier, VerifierProcesses], folder: Path) -> None:
    """Baseline, work, verify: relative paths mean the attempt's directory."""
    one, processes = warm
    question = _ready(one, _question(folder, _file(min_bytes=1, contains="hello"), _file(str(folder / "b"))))
    (folder / "out.md").write_text("hello")
    assert one.verify(question, 20).outcome == "unverified"
    (folder / "b").write_text("x")
    assert one.verify(question, 20).outcome == "verified"
    assert len(processes.processes) == 1


@pytest.mark.parametrize(
    ("claim", "outcome"),
    [
        ({"n": 1}, "verified"),
        ({"n": "1"}, "unverified"),
        ([], "unverified"),
        ({"n": math.nan}, "unverified"),
        ({"n": "\ud800"}, "unverified"),
        ({"n": {1}}, "unverified"),
    ],
)
def test_a_functions_value_is_held_to_its_schema(
    warm: tuple[Verifier, VerifierProcesses], folder: Path, claim: Any, outcome: str
) -> None:
    """What does not fit, or is no JSON, is malformed output."""
    proof = Proof("json", {"schema": {"type": "object", "properties": {"n": {"type": "integer"}}}})
    verdict = warm[0].verify(_question(folder, proof, claim=claim), 20)
    assert verdict.outcome == outcome
    assert verdict.class_ == (None if outcome == "verified" else "malformed_output")


@pytest.mark.parametrize(
    ("text", "whole", "reason"),
    [
        (b' {"n": 1}\n', True, ""),
        (b"", True, "empty"),
        (b'```json\n{"n": 1}\n```', True, "code fence"),
        (b'{"n": 1, "n": 2}', True, "twice"),
        (b'{"n": 1', False, "longer than what is captured"),
        (b'{"n": 1}', False, "longer than what is captured"),
    ],
)
def test_the_whole_of_stdout_is_one_document(
    warm: tuple[Verifier, VerifierProcesses], folder: Path, text: bytes, whole: bool, reason: str
) -> None:
    """A command's claim is all it printed; anything beside one document is malformed output."""
    stdout = folder / "stdout"
    stdout.write_bytes(text)
    question = _question(folder, Proof("json", {}), stdout=str(stdout), stdout_whole=whole)
    verdict = warm[0].verify(question, 20)
    assert verdict.outcome == ("unverified" if reason else "verified")
    assert reason in verdict.reason
    assert verdict.class_ == ("malformed_output" if reason else None)


def test_a_missing_stdout_cannot_be_told(warm: tuple[Verifier, VerifierProcesses], folder: Path) -> None:
    """Captured output that is not here says nothing about what was printed."""
    question = _question(folder, Proof("json", {}), stdout=str(folder / "stdout"))
    assert warm[0].verify(question, 20).outcome == "cannot_tell"


def test_unknown_kinds_cannot_be_told(warm: tuple[Verifier, VerifierProcesses], folder: Path) -> None:
    """A proof of a newer declaration is not passed by an older verifier."""
    assert warm[0].verify(_question(folder, Proof("moon", {})), 20).outcome == "cannot_tell"


def test_options_that_make_no_sense_cannot_be_told(warm: tuple[Verifier, VerifierProcesses], folder: Path) -> None:
    """A check that breaks is not a no, and the process goes on."""
    one, processes = warm
    question = _ready(one, _question(folder, _file(min_bytes="many")))
    (folder / "out.md").write_text("hello")
    assert one.verify(question, 20).outcome == "cannot_tell"
    assert processes.processes[0].poll() is None


# --- baselines ---


def test_later_attempts_are_judged_by_the_first_record(warm: tuple[Verifier, VerifierProcesses], folder: Path) -> None:
    """What the first attempt wrote may be proven by the second; what was there before may not."""
    one, _ = warm
    (folder / "old").write_text("old")
    question = _ready(one, _question(folder, _file("new"), _file("old")))
    (folder / "new").write_text("by the first attempt")
    again = _ready(one, question)
    assert again.record == question.record
    verdict = one.verify(again, 20)
    assert [result.outcome for result in verdict.proofs] == ["verified", "unverified"]


def test_the_directory_of_a_later_attempt_is_recorded_too(
    warm: tuple[Verifier, VerifierProcesses], folder: Path
) -> None:
    """A relative path is another one in each attempt: it is recorded before that attempt, the former forgotten."""
    one, _ = warm
    (folder / "1").mkdir()
    (folder / "2").mkdir()
    first = _ready(one, replace(_question(folder, _file()), cwd=str(folder / "1")))
    second = _ready(one, replace(first, cwd=str(folder / "2")))
    (folder / "2" / "out.md").write_text("hello")
    assert one.verify(second, 20).outcome == "verified"
    assert one.verify(replace(second, record=first.record), 20).outcome == "cannot_tell"
    assert second.record is not None
    assert [each["path"] for each in second.record["files"]] == [str(folder / "2" / "out.md")]


def test_impossible_paths_are_found_before_anything_starts(
    warm: tuple[Verifier, VerifierProcesses], folder: Path
) -> None:
    """A path no file can have is bad input."""
    assert warm[0].baseline(_question(folder, _file("a\0b")), 20).outcome == "bad_input"
    assert warm[0].baseline(_question(folder, _file("")), 20).outcome == "bad_input"


def test_must_change_is_looked_at_before_the_first_attempt(
    warm: tuple[Verifier, VerifierProcesses], folder: Path
) -> None:
    """What holds already starts nothing; what does not must differ afterwards."""
    one, _ = warm
    question = _question(folder, _file(contains="done", must_change=True, same_ok=True))
    (folder / "out.md").write_text("done")
    baseline = one.baseline(question, 20)
    assert baseline.outcome == "already_true"
    assert "already_true" in baseline.reason
    (folder / "out.md").write_text("to do")
    question = _ready(one, question)
    (folder / "out.md").write_text("done")
    # A second attempt does not look again: the first may have done the work.
    question = _ready(one, question)
    assert one.verify(question, 20).outcome == "verified"


def test_another_host_takes_a_record_of_its_own(folder: Path) -> None:
    """On another host the same path is another file: recorded anew, and the first one kept."""
    with verifier(host="a") as (one, _):
        question = _ready(one, replace(_question(folder, _file()), host="a"))
    (folder / "out.md").write_text("hello")
    with verifier(host="b") as (one, _):
        assert one.verify(question, 20).outcome == "cannot_tell"
        moved = _ready(one, replace(question, host="b"))
        assert one.verify(moved, 20).outcome == "unverified"
        assert moved.record is not None
        assert [each["host"] for each in moved.record["files"]] == ["a", "b"]


# --- python ---

PROOFS = """
from datetime import datetime
from proofq.workers.errors import NotProven

def sees(facts):
    assert isinstance(facts.started_at, datetime) and facts.started_at.tzinfo
    return {"claim": facts.claim, "inputs": facts.inputs, "there": (facts.workdir / "x").exists()}

def denies(facts):
    raise NotProven("row 7 is missing")

def breaks(facts):
    return 1 / 0

def leaves(facts):
    raise SystemExit(0)

def forgets(facts):
    pass

def shrugs(facts):
    return False

async def dreams(facts):
    return {"a": 1}

def changes(facts):
    facts.claim = 1

class Deep:
    @staticmethod
    def sees(facts):
        return "seen"
"""


@pytest.mark.usefixtures("imports")
@pytest.mark.parametrize(
    ("function", "outcome", "shown"),
    [
        ("my_proofs:sees", "verified", '"claim": {"n": 1}'),
        ("my_proofs.py:sees", "verified", '"there": false'),
        ("my_proofs:Deep.sees", "verified", '"value": "seen"'),
        ("my_proofs:denies", "unverified", "row 7 is missing"),
        ("my_proofs:breaks", "cannot_tell", "ZeroDivisionError"),
        ("my_proofs:leaves", "cannot_tell", "SystemExit"),
        ("my_proofs:forgets", "cannot_tell", "no evidence"),
        ("my_proofs:shrugs", "cannot_tell", "no evidence"),
        ("my_proofs:dreams", "cannot_tell", "async"),
        ("my_proofs:changes", "cannot_tell", "FrozenInstanceError"),
        ("my_proofs:nothing", "cannot_tell", "AttributeError"),
        ("no_such_module:sees", "cannot_tell", "ModuleNotFoundError"),
        ("slow:proof", "cannot_tell", "longer than the 20 s"),
        ("broken:runner", "cannot_tell", "could not be run"),
    ],
)
def test_python_proofs_say_yes_no_or_nothing(
    warm: tuple[Verifier, VerifierProcesses], folder: Path, function: str, outcome: str, shown: str
) -> None:
    """Evidence is a yes, NotProven a no, and everything else cannot tell."""
    (folder / "my_proofs.py").write_text(PROOFS)
    stdout = folder / "stdout"
    stdout.write_text('{"n": 1}')
    proofs = (Proof("python", {"function": function}), Proof("json", {}))
    started_at = "2026-11-20T10:00:00.000Z"
    question = _question(folder, *proofs, claim={"exit_code": 0}, stdout=str(stdout), started_at=started_at)
    result = warm[0].verify(question, 20).proofs[0]
    assert (result.kind, result.outcome) == ("python", outcome)
    assert shown in json.dumps(result.to_dict())


@pytest.mark.usefixtures("imports")
@pytest.mark.parametrize(
    ("function", "outcome"), [("sees", "already_true"), ("denies", "ready"), ("breaks", "cannot_tell")]
)
def test_python_proofs_may_have_to_change(
    warm: tuple[Verifier, VerifierProcesses], folder: Path, function: str, outcome: str
) -> None:
    """Before the first attempt the proof runs once; a yes starts nothing, and so does not knowing."""
    text = PROOFS.replace("    assert isinstance(facts.started_at, datetime) and facts.started_at.tzinfo\n", "")
    (folder / "my_proofs.py").write_text(text)
    question = _question(folder, Proof("python", {"function": f"my_proofs:{function}"}, must_change=True))
    assert warm[0].baseline(question, 20).outcome == outcome
    assert warm[0].verify(question, 20).outcome == "cannot_tell"


# --- deadlines, deaths, replacement ---


def test_a_proof_that_outruns_its_deadline_cannot_tell(warm: tuple[Verifier, VerifierProcesses], folder: Path) -> None:
    """Its process is killed, the other proofs of the attempt are run in a new one."""
    one, processes = warm
    endless = Proof("json", {"schema": ENDLESS})
    question = _ready(one, _question(folder, endless, _file(), claim=ENDLESS_VALUE))
    (folder / "out.md").write_text("hello")
    begun = time.monotonic()
    verdict = one.verify(question, 0.5)
    assert time.monotonic() - begun < 20
    assert [result.outcome for result in verdict.proofs] == ["cannot_tell", "verified"]
    assert "longer than the 0.5 s" in verdict.reason
    assert processes.processes[0].wait(10) < 0
    assert len(processes.processes) == 2


def test_a_hanging_proof_does_not_hold_up_the_others(warm: tuple[Verifier, VerifierProcesses], folder: Path) -> None:
    """While one proof runs towards its deadline others are answered."""
    one, processes = warm
    question = _ready(one, _question(folder, _file()))
    (folder / "out.md").write_text("hello")
    hanging = _question(folder, Proof("json", {"schema": ENDLESS}), claim=ENDLESS_VALUE)
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.append(one.verify(hanging, 30).outcome))
    thread.start()
    until(lambda: _is_busy(processes.processes[0]), what="the endless proof")
    assert one.verify(question, 20).outcome == "verified"
    assert seen == []
    # The first death may be one of old age, the next two are the request's doing.
    for _ in range(3):
        busy = until(lambda: [each for each in processes.processes if _is_busy(each)], what="the endless proof")
        busy[0].kill()
        busy[0].wait()
    thread.join(20)
    assert seen == ["cannot_tell"]


def _is_busy(process: subprocess.Popen[bytes]) -> bool:
    """Whether it lives and computes: it runs, and has used more than it takes to start."""
    if process.poll() is not None:
        return False
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0] == "R" and int(fields[11]) > os.sysconf("SC_CLK_TCK")


def test_a_verifier_killed_between_requests_costs_nothing(
    warm: tuple[Verifier, VerifierProcesses], folder: Path
) -> None:
    """kill -9 of the idle process: the next request goes to a new one."""
    one, processes = warm
    question = _ready(one, _question(folder, _file()))
    (folder / "out.md").write_text("hello")
    for expected in range(1, 6):
        assert one.verify(question, 20).outcome == "verified"
        assert len(processes.processes) == expected
        processes.processes[-1].kill()
        processes.processes[-1].wait()


def test_a_verifier_killed_while_eight_threads_ask(folder: Path) -> None:
    """Random kills: no thread ever gets a wrong answer, nor one that belongs to another."""
    with verifier() as (one, processes):
        question = _ready(one, _question(folder, _file()))
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

    one = Verifier(HOST, start, _run_here)
    verdict = one.verify(_question(folder, Proof("json", {}), claim=1), 20)
    assert verdict.outcome == "cannot_tell"
    assert "died of it twice" in verdict.reason
    assert len(started) == 2


def test_where_none_can_be_started_nothing_is_known(folder: Path) -> None:
    """Without a forkserver there are no proofs, and no exception either."""

    def start() -> Started:
        raise OSError("the forkserver is gone")

    one = Verifier(HOST, start, _run_here)
    assert one.verify(_question(folder, Proof("json", {}), claim=1), 20).outcome == "cannot_tell"
    baseline = one.baseline(_question(folder, _file()), 20)
    assert (baseline.outcome, "forkserver" in baseline.reason) == ("cannot_tell", True)


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
