"""What an end of the program claude means, by what it says of itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proofq.policies import adapters, ending
from proofq.policies.agent import AgentSpec, Proof
from proofq.policies.ended import Claim, Ending
from proofq.policies.failure import Failure

GOOD: dict[str, Any] = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "num_turns": 2,
    "result": "Done.",
    "session_id": "7a1c",
    "total_cost_usd": 0.25,
    "permission_denials": [],
}


def _outcome(code: int = 0, document: bool = False, **changes: Any) -> Claim | Failure:
    line = json.dumps({**GOOD, **changes}).encode()
    proofs = (Proof("json"),) if document else ()
    spec = AgentSpec("note", "command", adapter="claude", proofs=proofs)
    return ending.of(Ending(code, None, stdout=b'{"type":"system"}\n' + line + b"\n"), spec)


def test_success_is_claimed_with_what_it_said() -> None:
    """A clean result is a claim: its answer, capped, with session, turns and cost."""
    claim = _outcome(result="x" * 10_000)
    assert isinstance(claim, Claim)
    assert claim.value == {
        "exit_code": 0,
        "result": "x" * 2048,
        "session_id": "7a1c",
        "num_turns": 2,
        "total_cost_usd": 0.25,
    }


@pytest.mark.parametrize(
    ("code", "changes", "kind"),
    [
        (1, {"is_error": True, "api_error_status": 401, "result": "Invalid API key"}, "auth"),
        (0, {"is_error": True, "api_error_status": 429, "result": "Too many requests"}, "rate_limited"),
        (1, {"is_error": True, "api_error_status": 529}, "overloaded"),
        (1, {"is_error": True, "api_error_status": 400, "result": "Prompt is too long"}, "context_overflow"),
        (1, {"is_error": True, "api_error_status": 400, "result": "Credit balance is too low"}, "quota"),
        (0, {"is_error": True}, "unknown"),
        (0, {"is_error": None}, "unknown"),
        (0, {"subtype": "error_max_turns", "result": None}, "budget"),
        (0, {"subtype": "error_max_budget_usd", "is_error": True}, "budget"),
        (0, {"subtype": "error_during_execution"}, "unknown"),
        (0, {"permission_denials": [{"tool_name": "Write"}]}, "bad_input"),
        (0, {"num_turns": 0}, "malformed_output"),
        (0, {"num_turns": True}, "malformed_output"),
        (0, {"result": "  "}, "malformed_output"),
        (0, {"result": None}, "malformed_output"),
        (1, {}, "crash"),
        (143, {}, "crash"),
        (0, {"type": "assistant"}, "malformed_output"),
    ],
)
def test_each_miss_has_a_class(code: int, changes: dict[str, Any], kind: str) -> None:
    """Whatever speaks against success is a failure, although the result says subtype success."""
    outcome = _outcome(code, **changes)
    assert isinstance(outcome, Failure)
    assert outcome.kind == kind


@pytest.mark.parametrize("stdout", [b"", b"\n", b"API Error", b'{"type":"result","subtype":"succ', b"[]"])
def test_without_a_result_nothing_is_claimed(stdout: bytes) -> None:
    """Nothing, a text or half a document: malformed with exit 0, else what the exit says."""
    spec = AgentSpec("note", "command", adapter="claude")
    said, died = (ending.of(Ending(code, None, stdout=stdout), spec) for code in (0, 137))
    assert isinstance(said, Failure)
    assert isinstance(died, Failure)
    assert (said.kind, died.kind) == ("malformed_output", "resource")


def test_a_json_proof_wants_its_answer_to_be_a_document() -> None:
    """The answer, not the result around it, is the document that the proof judges."""
    assert _outcome(document=True, result='{"a": 1}') == Claim({"a": 1})
    fenced = _outcome(document=True, result='```json\n{"a": 1}\n```')
    assert isinstance(fenced, Failure)
    assert fenced.kind == "malformed_output"


def test_adapters_have_their_names() -> None:
    """`of` gives each by the name a declaration says; where transcripts stand is known for claude."""
    assert [adapters.of(name).name for name in adapters.ADAPTERS] == ["generic", "claude"]
    assert adapters.of("generic").transcripts == ()
    assert adapters.of("claude").transcripts == (".claude/projects/*/*.jsonl",)
