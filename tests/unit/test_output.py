"""What a program said last: reports of failures, and everything that only speaks of them."""

# ruff: noqa: E501 - a row of a table is a line

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofq.policies import tracebacks
from proofq.policies.classify import classify
from proofq.policies.output import classify_output, reports

FIXTURES = Path(__file__).parent / "fixtures"
QUOTE = (
    "Error code: 429 - Too Many Requests: rate limit exceeded, insufficient_quota; invalid api key, try again in 20s"
)
TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n    go()\n'

#: Lines by which programs report a failure, as seen, and the class of each.
REPORTED = [
    ("Error: 429 Too Many Requests", "rate_limited"),
    ("ERROR: exceeded retry limit, last status: 429 Too Many Requests", "rate_limited"),
    ("API Error: 429 rate_limit_error: slow down", "rate_limited"),
    ("[API Error: got status: 429. RESOURCE_EXHAUSTED]", "rate_limited"),
    ("2026-11-21 10:00:00,123 ERROR openai: Error code: 429 - slow down", "rate_limited"),
    ("[10:00:00] WARNING retrying: HTTP/1.1 429 Too Many Requests", "rate_limited"),
    ("openai.RateLimitError: Error code: 429 - {'error': {'message': 'slow'}}", "rate_limited"),
    ("429 Too Many Requests", "rate_limited"),
    ("Too many requests, please wait", "rate_limited"),
    ("Invalid API key · Please run /login", "auth"),
    ("stream error: 401 Unauthorized", "auth"),
    ("401 Unauthorized", "auth"),
    ("Not logged in", "auth"),
    ("llm: error: Incorrect API key provided", "auth"),
    ('{"type":"error","message":"Incorrect API key provided"}', "auth"),
    ('{"type":"result","is_error":true,"result":"Invalid API key"}', "auth"),
    ("Credit balance is too low", "quota"),
    ("Claude AI usage limit reached|1753441200", "quota"),
    ("You've hit your usage limit. Try again in 2 hours 5 minutes.", "quota"),
    ("The usage limit has been reached", "quota"),
    ("5-hour limit reached ∙ resets 3pm", "quota"),
    ("ERROR: We're currently experiencing high demand, which may cause temporary errors.", "overloaded"),
    ('API Error: 529 {"type":"error","error":{"type":"overloaded_error"}}', "overloaded"),
]  # fmt: skip
#: Lines of documents, prompts and answers that speak of failures.
SPOKEN_OF = [
    "The server returns 429 Too Many Requests when the rate limit is exceeded.",
    "## Error: 429 Too Many Requests",
    "> Error: invalid api key",
    "- 401 Unauthorized: the key was refused",
    "* `insufficient_quota` means that the account has no credit",
    "1. Invalid API key: check the key",
    "| 429 | Too Many Requests |",
    "```Error: 429 Too Many Requests```",
    '"Error: 429 Too Many Requests"',
    "We hit a rate limit yesterday, and then the usage limit was reached.",
    "I have summarised the page about the error 401 Unauthorized and the invalid API key.",
    "In chapter 3 the author's credit balance is too low to buy bread.",
    "An error: invalid api key is what the user sees.",
    "401 Unauthorized means that the credential was refused",
    "If you see Error: 429 Too Many Requests, wait a minute.",
    '{"type":"assistant","message":{"content":[{"type":"text","text":"Error: 429 Too Many Requests"}]}}',
    '{"type":"item.completed","item":{"type":"agent_message","text":"invalid api key"}}',
    '{"type":"result","subtype":"success","is_error":false,"result":"the docs speak of an invalid api key"}',
    '{"error": null, "summary": "rate limit exceeded"}',
]  # fmt: skip


@pytest.mark.parametrize(("line", "kind"), REPORTED)
@pytest.mark.parametrize("stream", [0, 1])
def test_a_report_is_believed(line: str, kind: str, stream: int) -> None:
    """On whichever stream, after whatever else was printed."""
    streams = ["", ""]
    streams[stream] = f"working\nreading the page\n{line}\n"
    found = classify(subprocess.CompletedProcess(["agent"], 1, *streams))
    assert found.kind == kind, found.reason


@pytest.mark.parametrize("line", SPOKEN_OF)
def test_a_mention_is_not(line: str) -> None:
    """A program that ends with 1 and happens to have printed such a line crashed: nobody's key is suspected."""
    for stdout, stderr in ((line, ""), (f"begin\n{line}\nend", ""), (line, "something odd")):
        found = classify(subprocess.CompletedProcess(["agent"], 1, stdout, stderr))
        assert found.kind == "crash", found.reason
    assert not reports(line)


def test_a_block_of_code_is_quoted() -> None:
    """The same line inside a fence of a document, and after it."""
    assert classify_output((f"see\n```\n{QUOTE}\n```\n", "")) is None
    after = classify_output((f"see\n```\nx\n```\n{QUOTE}\n", ""))
    assert after is not None
    assert after.kind == "quota"
    # A fence whose beginning is not kept says nothing.
    assert classify_output((f"```\n{QUOTE}\n", "")) is not None


def test_who_failed_otherwise_has_said_why() -> None:
    """An error of no known kind on stderr ends the search: what stdout holds is the agent's work."""
    report = "Error: 429 Too Many Requests\n"
    for last in ("panic: index out of range [3]", "Error: cannot open a.txt", "ValueError: no title"):
        assert classify(subprocess.CompletedProcess(["agent"], 1, report, last)).kind == "crash"
    for last in ("", "(node:1) DeprecationWarning", "3 files read"):
        assert classify(subprocess.CompletedProcess(["agent"], 1, report, last)).kind == "rate_limited"


@pytest.mark.parametrize(
    ("ending", "kind", "wait"),
    [
        (f"ValueError: cannot parse {QUOTE!r}", "crash", None),
        (f"RuntimeError: {QUOTE}", "crash", None),
        (f"json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)\n{QUOTE}", "malformed_output", None),
        (f"pydantic_core._pydantic_core.ValidationError: 1 validation error\ntitle\n  Input {QUOTE}", "malformed_output", None),
        ("openai.RateLimitError: Error code: 429 - Please try again in 20s", "rate_limited", 20),
        ("openai.AuthenticationError: Error code: 401 - {'error': {'code': 'invalid_api_key'}}", "auth", None),
        ("anthropic.BadRequestError: Error code: 400 - {'message': 'Your credit balance is too low'}", "quota", None),
        ("httpx.ReadTimeout: The read operation timed out", "timeout", None),
        ("ConnectionRefusedError: [Errno 111] Connection refused", "network", None),
        ("redis.exceptions.ConnectionError: Error 111 connecting to x. 429 Too Many Requests", "infrastructure", None),
        ("sqlite3.IntegrityError: UNIQUE constraint failed", "crash", None),
        ("MemoryError", "resource", None),
        ("KeyError: '429 Too Many Requests'", "crash", None),
        ("mine.OddError: 429 Too Many Requests", "crash", None),
        ("TypeError: \"Could not resolve authentication method. Expected one of api_key\"", "auth", None),
        ("agents.exceptions.MaxTurnsExceeded: Max turns (10) exceeded", "budget", None),
    ],
)  # fmt: skip
def test_a_traceback_is_judged_as_the_error_would_be(ending: str, kind: str, wait: float | None) -> None:
    """By the name of the error, and by its words only where it is a provider's."""
    for streams in (("", TRACEBACK + ending), (TRACEBACK + ending + "\n", ""), (f"{QUOTE}\n", TRACEBACK + ending)):
        found = classify(subprocess.CompletedProcess(["agent"], 1, *streams))
        assert (found.kind, found.retry_after) == (kind, wait), found.reason


def test_the_cause_in_a_traceback_speaks() -> None:
    """An error that says nothing, raised from one that does; what was handled long before is another chain."""
    cause = f"{TRACEBACK}openai.RateLimitError: Error code: 429 - slow\n"
    between = "\nThe above exception was the direct cause of the following exception:\n\n"
    outer = f"{TRACEBACK}RuntimeError: step 3 failed"
    assert classify(subprocess.CompletedProcess(["a"], 1, "", cause + between + outer)).kind == "rate_limited"
    assert classify(subprocess.CompletedProcess(["a"], 1, "", cause + "going on\n" + outer)).kind == "crash"
    assert [one.name for one in tracebacks.last(cause + between + outer)] == ["RuntimeError", "openai.RateLimitError"]


def test_a_real_program_with_a_group_of_errors() -> None:
    """As the interpreter prints it, a provider's error among the members."""
    code = """
        class AuthenticationError(Exception):
            __module__ = "anthropic"
        try:
            raise ExceptionGroup("two", [KeyError("x"), AuthenticationError("Error code: 401 - refused")])
        except ExceptionGroup as error:
            raise RuntimeError("step failed") from error
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert classify(done).kind == "auth", done.stderr


#: Recorded runs of agent programs whose own words are enough; others end well, or with words that need their adapter.
RECORDED = {
    "claude/401": "auth", "claude/403": "auth", "claude/429": "rate_limited", "claude/429_after_3": "rate_limited",
    "claude/429_after_600": "rate_limited", "claude/503": "overloaded", "claude/529": "overloaded",
    "claude/credit": "quota", "claude/context": "context_overflow", "claude/max_turns": "budget",
    "codex/401": "auth", "codex/403": "content_refused", "codex/429": "rate_limited", "codex/429after7": "rate_limited",
    "codex/429after90": "rate_limited", "codex/quota": "quota",
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_runs(name: str) -> None:
    """What claude and codex printed, read without their adapters, as the output of any command."""
    stdout = (FIXTURES / f"{name}.jsonl").read_text()
    assert classify(subprocess.CompletedProcess(["agent"], 1, stdout, "")).kind == RECORDED[name]


@pytest.mark.parametrize("name", ["claude/good", "claude/lie", "codex/good", "codex/lie"])
def test_recorded_runs_that_ended_well(name: str) -> None:
    """The same programs' good answers hold nothing that would stop anybody, whatever code they are given."""
    stdout = (FIXTURES / f"{name}.jsonl").read_text()
    assert classify(subprocess.CompletedProcess(["agent"], 1, stdout, "")).kind == "crash"


@given(st.text(), st.sampled_from([line for line, _ in REPORTED] + SPOKEN_OF + [TRACEBACK, "```", QUOTE]))
def test_any_text_is_a_report_or_none(text: str, line: str) -> None:
    """Nothing raises, whatever stands around whatever."""
    for one in (text, line, text + line, line + text, f"{TRACEBACK}{text}"):
        reports(one)
        classify_output((one, f"{line}\n{text}"))
