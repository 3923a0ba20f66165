"""When what a running program says of itself is enough to end it."""

from __future__ import annotations

from pathlib import Path

import pytest

from proofq.policies import adapters, ending, live
from proofq.policies.agent import AgentSpec
from proofq.policies.ended import Ending
from proofq.policies.failure import Failure
from proofq.policies.live import LIVE, Heard, Trouble

AUTH, BUSY = Failure("auth", "refused", "provider"), Failure("overloaded", "busy", "provider")
SLOW, LATER = Failure("rate_limited", "slow", "provider"), Failure("rate_limited", "later", "provider", None, 10.1)
SOON = Failure("rate_limited", "soon", "provider", None, 10.0)
QUOTA = Failure("quota", "no credit", "provider")


def _ended_at(heard: list[Heard]) -> int | None:
    """The number of what ended it, 1 is the first; None when it may go on."""
    trouble = Trouble()
    for number, each in enumerate(heard, 1):
        trouble, failure = live.hear(trouble, each)
        if failure is not None:
            assert isinstance(each, Failure)
            assert (failure.kind, failure.retry_after_s) == (each.kind, each.retry_after_s)
            return number
    return None


@pytest.mark.parametrize(
    ("heard", "at"),
    [
        ([AUTH], None),
        ([AUTH, AUTH], 2),
        ([AUTH, None, AUTH], 3),
        ([AUTH, "answered", AUTH], None),
        ([QUOTA, AUTH, QUOTA], None),
        ([QUOTA, QUOTA], 2),
        ([BUSY] * 4, None),
        ([BUSY] * 5, 5),
        ([BUSY, SLOW, BUSY, SLOW, BUSY], 5),
        ([BUSY, SLOW, "answered"] * 5, None),
        ([SOON], None),
        ([LATER], 1),
        (["answered", None], None),
    ],
)
def test_it_is_ended_when_waiting_is_worth_less_than_the_slot(heard: list[Heard], at: int | None) -> None:
    """At once for a wait of over ten seconds, at the second refusal in a row, at the fifth failure of any class."""
    assert _ended_at(heard) == at


def test_what_it_was_ended_for_is_its_failure() -> None:
    """Whatever its exit code or its output says: the class is that of what it told live, by the killer's word."""
    spec = AgentSpec("note", "command", adapter="claude")
    for code, signum in ((0, None), (143, None), (None, 9)):
        assert ending.of(Ending(code, signum, LIVE, live=AUTH), spec) == AUTH
    lost = ending.of(Ending(0, None, LIVE), spec)
    assert isinstance(lost, Failure)
    # Heard too late to be killed for it: it ended by itself, and its own result counts.
    late = ending.of(Ending(None, 11, live=AUTH), spec)
    assert isinstance(late, Failure)
    assert (lost.kind, late.kind) == ("unknown", "crash")


RETRY = b'{"type":"system","subtype":"api_retry","attempt":1,"retry_delay_ms":%s,"error_status":%s,"error":"%s"}'


@pytest.mark.parametrize(
    ("delay", "status", "word", "kind", "wait_s"),
    [
        (b"5000", b"429", b"rate_limit", "rate_limited", 5.0),
        (b"600000", b"429", b"rate_limit", "rate_limited", 600.0),
        (b"623.1071079997614", b"429", b"rate_limit", "rate_limited", None),
        (b"500", b"529", b"overloaded", "overloaded", None),
        (b"502.15", b"401", b"authentication_failed", "auth", None),
        (b"null", b"null", b"server_error", "overloaded", None),
        (b"1e300", b"503", b"server_error", "overloaded", None),
        (b"true", b'"429"', b"unknown", "unknown", None),
    ],
)
def test_a_retry_of_claude_has_a_class(
    delay: bytes, status: bytes, word: bytes, kind: str, wait_s: float | None
) -> None:
    """By its status, else by its word; a delay of whole seconds is what the provider asked for."""
    reads = adapters.of("claude").live
    assert reads is not None
    heard = reads(RETRY % (delay, status, word))
    assert isinstance(heard, Failure)
    assert (heard.kind, heard.retry_after_s) == (kind, wait_s)


@pytest.mark.parametrize("line", [b"", b"{", b'"api_retry"', b'{"type":"system","subtype":"api_retry"', b"\xff" * 50])
def test_other_lines_say_nothing(line: bytes) -> None:
    """Half a line, or garbage, is passed over."""
    reads = adapters.of("claude").live
    assert reads is not None
    assert reads(line) is None


def test_lines_of_a_real_run() -> None:
    """A refused key after an answer: the answer is heard, then one failure; the program's own last words are none."""
    reads = adapters.of("claude").live
    assert reads is not None
    printed = Path(__file__).with_name("fixtures") / "claude" / "ok_then_401.jsonl"
    heard = [reads(line) for line in printed.read_bytes().splitlines()]
    kinds = [each.kind if isinstance(each, Failure) else each for each in heard if each is not None]
    assert kinds == ["answered", "answered", "auth"]
