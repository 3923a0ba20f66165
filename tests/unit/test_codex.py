"""What an end of the program codex means, and what is heard of it while it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proofq.policies import adapters, ending
from proofq.policies.agent import AgentSpec, Proof
from proofq.policies.ended import Claim, Ending
from proofq.policies.failure import Failure
from proofq.policies.live import Trouble, hear

#: What codex 0.169.0 printed against a provider on loopback, its own retries set to none.
PRINTED = Path(__file__).with_name("fixtures") / "codex"
STARTED = {"type": "thread.started", "thread_id": "7a1c"}
MESSAGE = {"type": "item.completed", "item": {"id": "item_1", "type": "agent_message", "text": "Done."}}
COMPLETED = {"type": "turn.completed", "usage": {"input_tokens": 40, "output_tokens": 20, "odd": "x"}}
FAILED = {
    "type": "turn.failed",
    "error": {"message": "unexpected status 401 Unauthorized: no, url: http://127.0.0.1:9"},
}


def _outcome(*events: Any, code: int | None = 0, document: bool = False, transcript: bytes = b"") -> Claim | Failure:
    printed = b"".join(json.dumps(each, separators=(",", ":")).encode() + b"\n" for each in events)
    return _of(printed, code, document, transcript)


def _of(printed: bytes, code: int | None, document: bool = False, transcript: bytes = b"") -> Claim | Failure:
    spec = AgentSpec("note", "command", adapter="codex", proofs=(Proof("json"),) if document else ())
    signal = 9 if code is None else None
    return ending.of(Ending(code, signal, stdout_end=printed, transcript_end=transcript), spec)


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("401", "auth"),
        ("403", "content_refused"),
        ("429", "rate_limited"),
        ("429after90", "rate_limited"),
        ("500", "overloaded"),
        ("503", "overloaded"),
        ("529", "overloaded"),
        ("context", "context_overflow"),
        ("cut", "network"),
        ("good_then_401", "auth"),
        ("html", "network"),
        ("quota", "quota"),
        ("reset", "network"),
        ("stall", "timeout"),
    ],
)
def test_what_the_real_program_printed(case: str, kind: str) -> None:
    """Each way its provider failed has its class; it passes no wait on, so none is made up."""
    printed = (PRINTED / f"{case}.jsonl").read_bytes()
    found = _of(printed, 1)
    assert isinstance(found, Failure)
    assert (found.kind, found.retry_after_s) == (kind, None)
    assert "127.0.0.1" not in found.reason


@pytest.mark.parametrize("case", ["good", "lie"])
def test_what_it_claims(case: str) -> None:
    """Truth and lie are the same claim, the error item of a good run notwithstanding; proofs tell them apart."""
    found = _of((PRINTED / f"{case}.jsonl").read_bytes(), 0)
    assert isinstance(found, Claim)
    assert found.value["result"] == "Done: I have written out.txt and checked that it is right."
    assert set(found.value) == {"exit_code", "result", "thread_id", "usage"}


@pytest.mark.parametrize(
    ("events", "code", "kind"),
    [
        ([STARTED, MESSAGE], 0, "malformed_output"),
        ([STARTED, COMPLETED], 0, "malformed_output"),
        ([], 0, "malformed_output"),
        ([STARTED, MESSAGE, COMPLETED, FAILED], 0, "auth"),
        ([STARTED, MESSAGE, COMPLETED], 1, "crash"),
        ([STARTED, MESSAGE], None, "resource"),
        ([STARTED, {"type": "turn.failed"}], 1, "unknown"),
    ],
)
def test_what_speaks_against_it(events: list[Any], code: int | None, kind: str) -> None:
    """A turn that failed, none that ended, no message, another exit: none of them is a claim."""
    found = _outcome(*events, code=code)
    assert isinstance(found, Failure)
    assert found.kind == kind


def test_its_transcript_may_speak_against_it() -> None:
    """A turn that was aborted by its transcript is no claim; `task_complete` after it is."""
    lines = [json.dumps({"type": "event_msg", "payload": {"type": each}}) for each in ("turn_aborted", "task_complete")]
    good = [STARTED, MESSAGE, COMPLETED]
    assert isinstance(_outcome(*good, transcript=f"{lines[1]}\n{lines[0]}\n{{}}\n".encode()), Failure)
    assert isinstance(_outcome(*good, transcript="\n".join(lines).encode()), Claim)


@pytest.mark.parametrize(("text", "fits"), [('{"a": 1}', True), ('{"a": 1} done', False), ('{"a": 1, "a": 2}', False)])
def test_a_document_is_its_last_message(text: str, fits: bool) -> None:
    """With a `json` proof the message is one strict document or nothing."""
    message = {"type": "item.completed", "item": {"type": "agent_message", "text": text}}
    found = _outcome(STARTED, message, COMPLETED, document=True)
    assert found == Claim({"a": 1}) if fits else isinstance(found, Failure) and found.kind == "malformed_output"


def test_what_a_tool_prints_decides_nothing() -> None:
    """A line within another's output is no event of its own."""
    output = {"type": "command_execution", "aggregated_output": '{"type":"turn.failed"}\n', "exit_code": 0}
    assert isinstance(_outcome(STARTED, {"type": "item.completed", "item": output}, MESSAGE, COMPLETED), Claim)


def test_it_is_ended_while_it_reconnects() -> None:
    """The real program's silence without a network is broken by its own words; an answer begins the count anew."""
    live = adapters.of("codex").live
    assert live is not None
    trouble, ended = Trouble(), None
    lines = (PRINTED / "unreachable.jsonl").read_bytes().splitlines()
    for line in lines:
        trouble, ended = hear(trouble, live(line))
    assert ended is not None
    assert (ended.kind, trouble.in_a_row) == ("network", 5)
    answered = json.dumps(MESSAGE, separators=(",", ":")).encode()
    assert hear(trouble, live(answered))[0] == Trouble()
    assert [live(line) for line in (b"", b"{", b'{"type":"turn.started"}', b'{"type":"error"')] == [None] * 4
