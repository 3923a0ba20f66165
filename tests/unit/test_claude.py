"""What an end of the program claude means, by what it says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proofq.policies import adapters, ending
from proofq.policies.agent import AgentSpec, Proof
from proofq.policies.ended import Claim, Ending
from proofq.policies.failure import Failure

#: What claude 2.1.197 printed against a provider on loopback; lists of names and places of that machine left out.
PRINTED = Path(__file__).with_name("fixtures") / "claude"
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
INIT = b'{"type":"system","subtype":"init","session_id":"7a1c"}\n'


def _outcome(code: int = 0, document: bool = False, **changes: Any) -> Claim | Failure:
    line = json.dumps({**GOOD, **changes}).encode()
    proofs = (Proof("json"),) if document else ()
    spec = AgentSpec("note", "command", adapter="claude", proofs=proofs)
    return ending.of(Ending(code, None, stdout_end=INIT + line + b"\n"), spec)


@pytest.mark.parametrize(
    ("case", "code", "kind", "wait_s"),
    [
        ("401", 1, "auth", None),
        ("403", 1, "auth", None),
        ("404", 1, "bad_input", None),
        ("429", 1, "rate_limited", None),
        ("429_after_3", 1, "rate_limited", 3.0),
        ("429_after_600", 1, "rate_limited", None),
        ("503", 1, "overloaded", None),
        ("529", 1, "overloaded", None),
        ("context", 1, "context_overflow", None),
        ("credit", 1, "quota", None),
        ("cut", 1, "malformed_output", None),
        ("denied", 0, "bad_input", None),
        ("empty", 0, "malformed_output", None),
        ("hang", 1, "timeout", None),
        ("html", 1, "malformed_output", None),
        ("max_turns", 1, "budget", None),
        ("ok_then_401", 1, "auth", None),
        ("refusal", 1, "content_refused", None),
        ("truncated", 1, "malformed_output", None),
        ("unreachable", 1, "network", None),
    ],
)
def test_what_it_really_printed_has_its_class(case: str, code: int, kind: str, wait_s: float | None) -> None:
    """Each way it was seen to fail, as it printed it: its class, and a wait only where the provider said one."""
    printed = (PRINTED / f"{case}.jsonl").read_bytes()
    outcome = adapters.of("claude").outcome(Ending(code, None, stdout_end=printed), False)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.retry_after_s) == (kind, wait_s), outcome.reason


def test_a_wait_too_long_for_it_is_read_from_the_text() -> None:
    """A wait of over a minute it neither waits nor passes on as a number: what the provider wrote is all there is."""
    said = "API Error: Request rejected (429) · Rate limit reached for requests. Please try again in 90s."
    outcome = _outcome(1, is_error=True, api_error_status=429, result=said)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.retry_after_s) == ("rate_limited", 90.0)


@pytest.mark.parametrize("case", ["good", "lie"])
def test_a_lie_looks_like_the_truth(case: str) -> None:
    """Nothing it prints tells a lie from good work: both are claims, which is all that they are."""
    printed = (PRINTED / f"{case}.jsonl").read_bytes()
    for output in (printed, printed.splitlines()[-1], b"[" + b",".join(printed.splitlines()) + b"]"):
        outcome = adapters.of("claude").outcome(Ending(0, None, stdout_end=output), False)
        assert isinstance(outcome, Claim)
        assert outcome.value["result"] == "Done, file written."
        assert set(outcome.value["usage"]) >= {"input_tokens", "output_tokens"}


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
        (0, {"permission_denials": True}, "bad_input"),
        (0, {"stop_reason": "tool_use"}, "malformed_output"),
        (0, {"session_id": "another"}, "malformed_output"),
        (0, {"subtype": "error_max_structured_output_retries"}, "malformed_output"),
        (1, {"is_error": True, "api_error_status": None, "errors": ["Not logged in"], "result": None}, "auth"),
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
    said, died = (ending.of(Ending(code, None, stdout_end=stdout), spec) for code in (0, 137))
    assert isinstance(said, Failure)
    assert isinstance(died, Failure)
    assert (said.kind, died.kind) == ("malformed_output", "resource")


def test_one_result_and_no_more() -> None:
    """Two results are no result: whoever wrote one of them, it is not to be chosen from. Long lines are passed over."""
    line = json.dumps(GOOD, separators=(",", ":")).encode()
    spec = AgentSpec("note", "command", adapter="claude")
    printed = INIT + b'{"type":"user","content":"' + b"x" * 200_000 + b'"}\n' + line
    assert isinstance(ending.of(Ending(0, None, stdout_end=printed), spec), Claim)
    for first in (line, line.replace(b"Done.", b"x" * 100_000)):
        twice = ending.of(Ending(0, None, stdout_end=first + b"\n" + line), spec)
        assert isinstance(twice, Failure)
        assert (twice.kind, twice.reason) == ("malformed_output", "it gave more than one result")


def test_a_json_proof_wants_its_answer_to_be_a_document() -> None:
    """The answer, not the result around it, is the document that the proof judges."""
    assert _outcome(document=True, result='{"a": 1}') == Claim({"a": 1})
    fenced = _outcome(document=True, result='```json\n{"a": 1}\n```')
    assert isinstance(fenced, Failure)
    assert fenced.kind == "malformed_output"
    assert _outcome(document=True, result="", structured_output={"a": 2}) == Claim({"a": 2})


def test_adapters_have_their_names() -> None:
    """`of` gives each by the name a declaration says; where transcripts stand is known for claude."""
    assert [adapters.of(name).name for name in adapters.ADAPTERS] == ["generic", "claude", "codex", "mini"]
    assert adapters.of("generic").transcripts == ()
    assert adapters.of("claude").transcripts == (".claude/projects/*/*.jsonl",)
