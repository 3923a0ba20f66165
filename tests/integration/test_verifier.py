"""The verifier over real processes: baselines, verdicts, deadlines, deaths and replacement."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proofq.policies.agent import Proof
from proofq.workers import python_proof
from proofq.workers.clock import latest_stamp_ns
from proofq.workers.known_folders import KnownFolders
from proofq.workers.verify import Question, Verifier
from tests.files import await_ticks
from tests.verifiers import HOST, VerifierProcesses, verifier


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The attempt's directory, which is its task's too."""
    return tmp_path


@pytest.fixture(params=["by a process", "by itself"])
def warm(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> Iterator[tuple[Verifier, VerifierProcesses]]:
    """A verifier with its processes, python proofs run right here. It looks at what is plain to see by itself, or has
    its processes look at all."""
    if request.param == "by a process":
        monkeypatch.setattr(KnownFolders, "learn", lambda *_: None)
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
    await_ticks(baseline.record, question.host)
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


@pytest.mark.parametrize(("claimed", "outcome"), [(True, "verified"), (False, "unverified")])
def test_no_claim_is_not_the_claim_null(
    warm: tuple[Verifier, VerifierProcesses], folder: Path, claimed: bool, outcome: str
) -> None:
    """A function may return None; an attempt that failed has returned nothing, whatever the schema allows."""
    question = _question(folder, Proof("json", {"schema": {"type": ["object", "null"]}}), claimed=claimed)
    assert warm[0].verify(question, 20).outcome == outcome


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


def test_a_schema_is_read_whoever_looks(warm: tuple[Verifier, VerifierProcesses], folder: Path) -> None:
    """The bytes are parsed by a process, which may be killed."""
    one, _ = warm
    question = _ready(one, _question(folder, _file(json_schema={"type": "array"})))
    (folder / "out.md").write_text("[1]")
    assert one.verify(question, 20).outcome == "verified"
    (folder / "out.md").write_text("{}")
    assert one.verify(question, 20).outcome == "unverified"


def test_the_same_bytes_are_no_change_whoever_looks(warm: tuple[Verifier, VerifierProcesses], folder: Path) -> None:
    """`same_ok` lets them pass, `must_change` does not."""
    one, _ = warm
    (folder / "out.md").write_text("x")
    for must_change, told in ((False, "verified"), (True, "unverified")):
        options = {"same_ok": True, "sha256": "0" * 64} if must_change else {"same_ok": True}
        question = _ready(one, _question(folder, _file("out.md", must_change, **options)))
        (folder / "out.md").write_text("x")
        same = [replace(proof, options={"path": "out.md", "same_ok": True}) for proof in question.proofs]
        assert one.verify(replace(question, proofs=tuple(same)), 20).outcome == told


def test_anothers_file_is_not_ours_to_judge(warm: tuple[Verifier, VerifierProcesses], folder: Path) -> None:
    """The same path on the host of an attempt that another one's worker judges."""
    one, _ = warm
    question = _ready(one, _question(folder, _file()))
    assert question.record is not None
    theirs = {**question.record, "files": [{**each, "host": "there"} for each in question.record["files"]]}
    (folder / "out.md").write_text("x")
    assert one.verify(question, 20).outcome == "verified"
    assert one.verify(replace(question, host="there", record=theirs), 20).outcome == "cannot_tell"


def test_what_no_kernel_stamps_is_always_a_processs_to_look_at(warm: tuple[Verifier, VerifierProcesses]) -> None:
    """Its own clock may be any."""
    one, _ = warm
    for _ in range(2):
        before = one.baseline(_question(Path("/proc"), _file("proofq-none")), 20)
        (record,) = before.record["files"]
        assert (record["marker"], before.tells_again) == ("host", False)


# --- baselines ---


def test_a_record_that_nobody_kept_is_told_again(warm: tuple[Verifier, VerifierProcesses], folder: Path) -> None:
    """By when the first attempt was leased: what is there and was born later is its work, and may be written once more;
    what was there before may not."""
    one, _ = warm
    (folder / "old").write_text("old")
    question = _question(folder, _file("new"), _file("old"))
    since_ns = latest_stamp_ns()
    assert one.baseline(question, 20).outcome == "ready"
    await_ticks(one.baseline(question, 20).record, HOST)
    for name in ("new", "old"):
        (folder / name).write_text(name)
    again = one.baseline(question, 20, lambda _: since_ns)
    assert [each["record"]["kind"] for each in again.record["files"]] == ["absent", "file"]
    assert [each["marker_ctime_ns"] == since_ns for each in again.record["files"]] == [True, False]
    await_ticks(again.record, HOST)
    for name in ("new", "old"):
        (folder / name).write_text(name)
    verdict = one.verify(replace(question, record=again.record), 20)
    assert [result.outcome for result in verdict.proofs] == ["verified", "unverified"]


def test_what_can_be_told_again_says_so(warm: tuple[Verifier, VerifierProcesses], folder: Path) -> None:
    """Where something stands, or a proof was looked at before, only a record that is kept says how it was."""
    one, _ = warm
    assert one.baseline(_question(folder, _file("a"), _file("b")), 20).tells_again
    (folder / "b").write_text("")
    before = one.baseline(_question(folder, _file("a"), _file("b")), 20)
    assert not before.tells_again
    assert not one.baseline(_question(folder, _file("b"), _file("a")), 20).tells_again
    kept = _question(folder, _file("a"), _file("b"), record=before.record)
    assert one.baseline(kept, 20).tells_again
    assert not one.baseline(_question(folder, _file("a", must_change=True)), 20).tells_again


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
    proof = Proof("python", {"function": function})
    question = _question(folder, proof, claim={"n": 1}, started_at="2026-11-20T10:00:00.000Z")
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
