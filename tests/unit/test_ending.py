"""What the end of a first process means."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofq.policies import ending
from proofq.policies.adapters import generic
from proofq.policies.adapters.generic import CLAIM_TAIL
from proofq.policies.ended import Claim, Ending
from proofq.policies.failure import Failure


@pytest.mark.parametrize(
    ("code", "signum", "kind", "said"),
    [
        (1, None, "crash", "code 1"),
        (127, None, "crash", "code 127"),
        (128, None, "crash", "code 128"),
        (137, None, "resource", "SIGKILL"),
        (139, None, "crash", "SIGSEGV"),
        (143, None, "crash", "SIGTERM"),
        (255, None, "crash", "code 255"),
        (None, 9, "resource", "SIGKILL"),
        (None, 11, "crash", "SIGSEGV"),
        (None, 15, "crash", "SIGTERM"),
        (None, 24, "resource", "SIGXCPU"),
        (None, 25, "resource", "SIGXFSZ"),
        (None, None, "crash", "not seen"),
    ],
)
@pytest.mark.parametrize("kind_of_agent", ["command", "function"])
def test_bad_ends(kind_of_agent: str, code: int | None, signum: int | None, kind: str, said: str) -> None:
    """Codes, signals and a shell's 128 + n have one class each, and a fingerprint; the last line is in the reason."""
    end = Ending(code, signum, output_tail="first\n  last words  \n\n")
    outcome = generic.outcome(end, document=False) if kind_of_agent == "command" else ending.of_function(end)
    assert isinstance(outcome, Failure)
    assert outcome.kind == kind
    assert said in outcome.reason
    assert outcome.fingerprint
    assert ("last words" in outcome.reason) == ("not seen" not in outcome.reason)


def test_shell_and_signal_are_equal_crashes() -> None:
    """137 from a shell and a death by SIGKILL count as the same crash; different codes do not."""
    by_shell, by_signal = ending.of_function(Ending(137, None)), ending.of_function(Ending(None, 9))
    other = ending.of_function(Ending(3, None))
    assert isinstance(by_shell, Failure)
    assert isinstance(by_signal, Failure)
    assert isinstance(other, Failure)
    assert by_shell.fingerprint == by_signal.fingerprint != other.fingerprint


@given(st.integers(-5, 300), st.one_of(st.none(), st.integers(1, 64)), st.booleans())
def test_only_zero_claims(code: int, signum: int | None, document: bool) -> None:
    """Whatever else a command ends with is a failure, never a claim."""
    end = Ending(code if signum is None else None, signum, stdout=b"{}")
    assert isinstance(generic.outcome(end, document), Claim) == (signum is None and code == 0)


def test_function_claims_by_returning() -> None:
    """Its value, None included; a result with a bad exit or a good exit without a word is a crash."""
    assert ending.of_function(Ending(0, None, report={"result": None})) == Claim(None)
    assert ending.of_function(Ending(0, None, report={"result": [1]})) == Claim([1])
    crashed = ending.of_function(Ending(1, None, report={"result": 1}))
    silent = ending.of_function(Ending(0, None))
    assert isinstance(crashed, Failure)
    assert isinstance(silent, Failure)
    assert (crashed.kind, silent.kind, silent.fingerprint) == ("crash", "crash", "exit:0")


def test_reported_failure_is_kept() -> None:
    """What the child classified crosses unchanged, whatever its exit code."""
    failure = Failure("network", "reset", "provider", "run", 3.0, "f")
    for code in (0, 1):
        assert ending.of_function(Ending(code, None, report={"failure": failure.to_dict()})) == failure


@pytest.mark.parametrize("data", [{}, [], None, "text", {"kind": "network"}, {"kind": "nonsense", "reason": "x"}])
def test_unreadable_report_is_unknown(data: Any) -> None:
    """A child may write anything; it is a failure that nobody knows, not an error of ours."""
    outcome = ending.of_function(Ending(1, None, report={"failure": data}))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.fingerprint) == ("unknown", "report")


def test_command_claim_keeps_the_tail() -> None:
    """Exit 0 claims with the end of what it printed, at most 2,048 characters."""
    claim = generic.outcome(Ending(0, None, output_tail="x" * 5000 + "end"), document=False)
    assert isinstance(claim, Claim)
    assert claim.value["exit_code"] == 0
    assert len(claim.value["output_tail"]) == CLAIM_TAIL == 2048
    assert claim.value["output_tail"].endswith("end")


@pytest.mark.parametrize("stdout", [b"", b"{", b'{"a":1}{"a":2}', b"NaN", b"\xff", b'{"a":1,"a":2}', b"log\n{}", None])
def test_document_must_be_strict(stdout: bytes | None) -> None:
    """Half, twice, doubled keys, NaN, foreign bytes, a log line before it, or too long: malformed, with a reason."""
    outcome = generic.outcome(Ending(0, None, stdout=stdout), document=True)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.phase) == ("malformed_output", "output")


def test_document_is_the_claim() -> None:
    """One strict JSON document is the claim itself."""
    assert generic.outcome(Ending(0, None, stdout=b' {"a": [1]}\n'), document=True) == Claim({"a": [1]})
