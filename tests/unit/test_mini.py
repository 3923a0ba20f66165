"""What an end of the program mini means, by the end of its trajectory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proofq.policies import ending
from proofq.policies.agent import AgentSpec, Proof
from proofq.policies.ended import Claim, Ending
from proofq.policies.failure import Failure

#: Trajectories of mini 2.4.6 against a provider on loopback, its own retries set to none; without its configuration,
#: its prompts and its tracebacks.
WRITTEN = Path(__file__).with_name("fixtures") / "mini"


def _of(trajectory: bytes, code: int | None = 0, document: bool = False) -> Claim | Failure:
    spec = AgentSpec("note", "command", adapter="mini", proofs=(Proof("json"),) if document else ())
    return ending.of(Ending(code, 9 if code is None else None, transcript_end=trajectory), spec)


def _trajectory(status: str, submission: str = "", **last: Any) -> bytes:
    exit_ = {"role": "exit", "content": "", "extra": {"exit_status": status, "submission": submission}, **last}
    messages = [{"role": "user", "content": '\n    {\n      "role": "exit"'}, exit_]
    whole = {"info": {"exit_status": status}, "messages": messages, "trajectory_format": "mini-swe-agent-1.1"}
    return json.dumps(whole, indent=2).encode()


@pytest.mark.parametrize(
    ("case", "kind", "wait_s"),
    [
        ("401", "auth", None),
        ("403", "content_refused", None),
        ("429", "rate_limited", None),
        ("429after7", "rate_limited", 7.0),
        ("429after90", "rate_limited", 90.0),
        ("500", "overloaded", None),
        ("503", "overloaded", None),
        ("529", "overloaded", None),
        ("context", "context_overflow", None),
        ("cut", "malformed_output", None),
        ("good_then_401", "auth", None),
        ("html", "malformed_output", None),
        ("quota", "quota", None),
        ("reset", "network", None),
        ("unreachable", "network", None),
    ],
)
def test_what_the_real_program_wrote(case: str, kind: str, wait_s: float | None) -> None:
    """Each way its provider failed has its class, and the wait that was said, as far as it tells."""
    found = _of((WRITTEN / f"{case}.traj.json").read_bytes(), 1)
    assert isinstance(found, Failure)
    assert (found.kind, found.retry_after_s) == (kind, wait_s)


@pytest.mark.parametrize("case", ["good", "lie"])
def test_what_it_claims(case: str) -> None:
    """The truth and the lie are the same claim; proofs tell them apart."""
    found = _of((WRITTEN / f"{case}.traj.json").read_bytes())
    assert found == Claim({"exit_code": 0, "exit_status": "Submitted", "submission": ""})


@pytest.mark.parametrize(
    ("trajectory", "code", "kind"),
    [
        (_trajectory("RepeatedFormatError"), 0, "malformed_output"),
        (_trajectory("LimitsExceeded"), 0, "budget"),
        (_trajectory("TimeExceeded"), 0, "budget"),
        (_trajectory("Submitted"), 1, "crash"),
        (_trajectory("Submitted"), None, "resource"),
        (_trajectory("SomethingNew"), 0, "malformed_output"),
        (_trajectory("Submitted", role="user"), 0, "malformed_output"),
        (_trajectory("Submitted")[:-60], 0, "malformed_output"),
        (b"", 0, "malformed_output"),
        (b"", 1, "crash"),
        (b'{"messages": [{"role": "exit"}]}', 0, "malformed_output"),
    ],
)
def test_what_speaks_against_it(trajectory: bytes, code: int | None, kind: str) -> None:
    """Exit 0 alone says nothing: another status, no end, half a file, none at all."""
    found = _of(trajectory, code)
    assert isinstance(found, Failure)
    assert found.kind == kind


def test_the_end_of_a_long_trajectory_is_enough() -> None:
    """Only the newest of a file is at hand."""
    assert isinstance(_of((b" " * 100_000 + _trajectory("Submitted", "x"))[-700:]), Claim)


@pytest.mark.parametrize(("text", "fits"), [('{"a": 1}', True), ("I am done", False)])
def test_a_document_is_what_it_submits(text: str, fits: bool) -> None:
    """With a `json` proof it is one strict document or nothing."""
    found = _of(_trajectory("Submitted", text), document=True)
    assert found == Claim({"a": 1}) if fits else isinstance(found, Failure) and found.kind == "malformed_output"
