"""The surprises of real libraries: decoys, hidden causes, looks that hurt, groups, and what nobody may be asked."""

# ruff: noqa: E501 - a row of a table is a line

from __future__ import annotations

import asyncio
import subprocess
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofq.policies.classes import CLASSES
from proofq.policies.classify import MAX_REASON, classify
from proofq.policies.exits import classify_exit
from proofq.policies.output import classify_output
from tests.unit.fakes import answer, error, openai, raised


def kind(met: Any) -> str:
    return classify(met).kind


def test_a_timeout_has_a_cancel_inside() -> None:
    """The deepest cause of a time-out is a cancel; it is only how that was brought about."""
    assert kind(raised(TimeoutError(), asyncio.CancelledError())) == "timeout"
    assert (
        kind(raised(error("ReadTimeout", "", "httpx"), raised(TimeoutError(), asyncio.CancelledError()))) == "timeout"
    )
    assert kind(raised(asyncio.CancelledError(), openai(429), during=True)) == "cancelled"
    assert kind(raised(error("Odd"), asyncio.CancelledError())) == "unknown"


def test_decoy_numbers_below_a_dropped_connection() -> None:
    """h11's hint of 400 and aiohttp's ContentLengthError with code 400 are no answers of anybody."""
    hint = error("RemoteProtocolError", "illegal", "h11", error_status_hint=400)
    length = error("ContentLengthError", "Not enough data", "aiohttp", code=400, message="x", headers={"a": "b"})
    assert kind(raised(error("RemoteProtocolError", "x", "httpx"), hint)) == "network"
    assert kind(raised(error("ClientPayloadError", "x", "aiohttp"), length)) == "network"
    assert kind(hint) == kind(length) == "network"


def test_what_litellm_makes_up() -> None:
    """A refused connection comes as a 500; what it was stands in the context. Other numbers of its are to be trusted."""
    refused = raised(error("APIConnectionError", "Connection error.", "openai"), ConnectionRefusedError())
    made_up = error("InternalServerError", "Connection error.", "litellm", status_code=500, response=answer(500))
    assert kind(raised(made_up, refused, during=True)) == "network"
    credit = error("RateLimitError", "x", "litellm", status_code=429, code="429", type="throttling_error")
    assert kind(raised(credit, openai(429, "x", "insufficient_quota", "insufficient_quota"), during=True)) == "quota"
    assert kind(error("BadRequestError", "x", "litellm", status_code=403)) == "auth"
    held = error("RateLimitError", "x", "litellm", status_code=429, litellm_response_headers={"Retry-After": "9"})
    assert classify(held).retry_after == 9


def test_what_was_raised_from_none_has_no_cause() -> None:
    """Whoever wrote it says that what happened before is not the reason."""
    met = raised(ValueError("x"), openai(503), during=True)
    assert kind(met) == "overloaded"
    met.__suppress_context__ = True
    assert kind(met) == "crash"


def test_a_wait_is_of_classes_that_wait() -> None:
    """An input that is refused is not better after the nine seconds of an error behind it."""
    slow = error("RateLimitError", "x", "openai", status_code=429, retry_after=9.0)
    assert classify(slow).retry_after == 9
    assert classify(raised(error("Odd"), slow)).retry_after == 9
    bad = classify(raised(error("BadInput", "no", "proofq"), slow))
    assert (bad.kind, bad.retry_after) == ("bad_input", None)


def test_the_call_that_opens_a_breaker_was_made() -> None:
    """Its error stands behind the breaker's and is the provider's; a breaker by itself has asked nobody."""
    alone, opened = (error("CircuitBreakerError", "open", "pybreaker") for _ in range(2))
    assert [classify(one).source for one in (alone, raised(opened, openai(503)))] == ["host", "provider"]


def test_which_bug_was_behind_what_nobody_knows_is_no_matter() -> None:
    """An error of a type of their own with a bug behind it is theirs to name."""
    assert kind(raised(error("Odd"), KeyError("k"))) == "unknown"


def test_what_an_input_quotes_is_no_word_of_the_provider() -> None:
    """It names what it does not like by a code; the sentence repeats the input, which may speak of anything."""
    said = "Unsupported value: insufficient_quota, you exceeded your current quota"
    assert kind(openai(400, said, "unsupported_value", "invalid_request_error")) == "bad_input"
    assert kind(openai(400, said, None, "invalid_request_error")) == "quota"


def test_which_kind_of_timeout_a_wrapper_means() -> None:
    """Nothing was sent: the way there. It was, and nobody answered: a time-out, whatever the wrapper is called."""
    wrapper = error("APITimeoutError", "Request timed out.", "openai")
    assert kind(raised(wrapper, error("ConnectTimeout", "", "httpx"))) == "network"
    assert kind(raised(error("ConnectionError", "", "requests"), error("ReadTimeoutError", "", "urllib3"))) == "timeout"


def test_at_once() -> None:
    """A refused key beats credit, credit beats waits, and the longest wait beats the others; however deep they are."""
    slow, slower = openai(429, retry_after="5"), openai(429, retry_after="50")
    credit, key = openai(402), openai(401)

    def group(*members: BaseException) -> BaseException:
        return BaseExceptionGroup("at once", members)

    assert kind(group(slow, group(credit, key))) == "auth"
    assert kind(group(slow, credit, slower)) == "quota"
    assert classify(group(slow, slower, ValueError("x"))).retry_after == 50
    assert kind(group(group(openai(503)))) == "overloaded"
    assert kind(raised(RuntimeError("x"), group(ValueError("y"), key))) == "auth"


def test_the_wait_may_stand_on_another_error_of_the_chain() -> None:
    """A wrapper without headers around an answer that has them."""
    inner = error("HTTPStatusError", "x", "httpx", response=answer(429, retry_after="77"))
    found = classify(raised(openai(429, "x", "tokens", "rate_limit_exceeded"), inner))
    assert (found.kind, found.retry_after) == ("rate_limited", 77)


def test_nobody_is_asked_for_more_than_he_holds() -> None:
    """`.request`, `.text`, `.read()`, `.json()` and a future that is not done are never touched."""
    touched = []

    class Trap:
        status_code = 429
        headers = ()

        def __getattr__(self, name: str) -> Any:
            touched.append(name)
            raise AttributeError(name)

        text = property(lambda self: touched.append("text"))
        content = property(lambda self: touched.append("content"))
        read = json = iter_bytes = property(lambda self: touched.append("body"))

    class Future:
        def done(self) -> bool:
            return False

        def exception(self) -> None:
            threading.Event().wait()

    class Sdk(Exception):
        request = property(lambda self: touched.append("request"))
        response = Trap()
        last_attempt = Future()

    assert kind(Sdk()) == "rate_limited"
    assert not {"text", "content", "body", "request"} & set(touched)


def test_no_key_gets_into_a_reason() -> None:
    """An error may quote the header it could not send."""
    for text in (
        "Illegal header value b'Bearer sk-abcdefghijklmnop\\n'",
        "key=AIzaSyA1234567890123456789012345",
        "api_key='0123456789ab'",
    ):
        said = classify(error("LocalProtocolError", text, "httpx")).reason
        assert "***" in said
        assert not any(secret in said for secret in ("abcdefghijklmnop", "1234567890123", "0123456789ab"))
    assert "sk-abcdefghijkl" not in classify_exit(1, None, streams=("", "401 Unauthorized: sk-abcdefghijklmnop")).reason


NASTY = st.sampled_from(
    ["response", "headers", "status_code", "code", "type", "body", "details", "status", "reason", "args", "exceptions",
     "last_attempt", "original_exception", "message", "errno", "retry_after", "raw_response", "returncode", "stdout",
     "trailing_metadata", "__cause__", "__context__", "cooldown_time", "litellm_response_headers", "error"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
    | st.sampled_from([ValueError("x"), KeyError, object(), lambda: 1 / 0, lambda *a: "text", threading.Lock()]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9) | st.sampled_from(
        ["error", "code", "message", "Error", "ResponseMetadata", "headers", "Retry-After"]), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


class _Raises:
    """Every attribute of it raises."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


#: Stands for an object of `_Raises`, which hypothesis itself could not look at.
RAISES = "raises"


@settings(max_examples=300)
@given(st.dictionaries(NASTY, VALUES | st.just(RAISES), max_size=8), st.booleans(), st.text(max_size=20))
def test_never_raises(attributes: dict[str, Any], as_property: bool, text: str) -> None:
    """Whatever an error carries, properties that raise included, there is a class, bounded text, and a sane wait."""

    def raising(self: Any) -> Any:
        raise RuntimeError("looked at")

    members: dict[str, Any] = {}
    if as_property:
        members = {name: property(raising) for name in attributes}
        members["__str__"] = raising
    met = type("Nasty", (Exception,), members)(text)
    for name, value in attributes.items():
        try:
            setattr(met, name, _Raises() if value is RAISES else value)
        except (AttributeError, TypeError, RuntimeError):
            continue
    for phase in (None, "run", text):
        found = classify(met, phase, now=1e9)
        assert found.kind in CLASSES
        assert len(found.reason) <= MAX_REASON
        assert found.retry_after is None or 0 <= found.retry_after < 1e12


def test_long_and_looping_chains_and_wide_groups_end() -> None:
    """Ten thousand causes, a loop through a group, and ten thousand members."""
    chain: BaseException = openai(429)
    for _ in range(10_000):
        chain = raised(RuntimeError("x"), chain)
    assert kind(chain) == "crash"
    looping = BaseExceptionGroup("x", [ValueError("y")])
    looping.exceptions[0].__cause__ = looping
    assert kind(looping) in ("crash", "unknown")
    assert kind(BaseExceptionGroup("x", [openai(503)] * 10_000)) == "overloaded"
    assert kind(subprocess.CompletedProcess([], 1, "x" * 10_000_000, b"\xff" * 1000)) == "crash"
    assert kind(_Raises()) == "unknown"


# --- what programs print -------------------------------------------------------------------------------------------

CLAUDE_429 = (
    '{"type":"result","subtype":"success","is_error":true,"api_error_status":429,"num_turns":1,'
    '"result":"API Error: 429 rate_limit_error: slow down"}'
)
GEMINI_429 = (
    '[API Error: got status: 429. {"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"You exceeded your '
    'current quota, please check your plan and billing details. Please retry in 34.07s."}}]'
)
CODEX_BANNER = "OpenAI Codex v0.169.0\n--------\nworkdir: /tmp/429\nmodel: gpt-5\nsession 401 503\n"


@pytest.mark.parametrize(
    ("code", "stdout", "stderr", "kind_", "wait"),
    [
        (1, CLAUDE_429, "", "rate_limited", None),
        (1, "Invalid API key · Please run /login", "", "auth", None),
        (1, "Claude AI usage limit reached|1000000060", "", "quota", 60),
        (1, "Credit balance is too low", "", "quota", None),
        (1, 'API Error: 529 {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', "", "overloaded", None),
        (1, "API Error: 400 prompt is too long: 1 > 0", "", "context_overflow", None),
        (1, "API Error: Connection error.", "", "network", None),
        (1, "", CODEX_BANNER + "ERROR: exceeded retry limit, last status: 429 Too Many Requests\n" * 2, "rate_limited", None),
        (1, "", CODEX_BANNER + "ERROR: exceeded retry limit, last status: 401 Unauthorized\n", "auth", None),
        (1, "", CODEX_BANNER + "ERROR: We're currently experiencing high demand, which may cause temporary errors.", "overloaded", None),
        (1, "", CODEX_BANNER + "ERROR: You've hit your usage limit. Try again in 2 hours 5 minutes.", "quota", 7500),
        (1, "", CODEX_BANNER + "ERROR: something odd", "crash", None),
        (1, "\x1b[91m\x1b[1mError: \x1b[0mToo \x1b[1mMany Requests", "", "rate_limited", None),
        (1, "", GEMINI_429, "rate_limited", 34.07),
        (1, "", "Error: Error code: 429 - {'error': {'message': 'x', 'code': 'insufficient_quota'}}", "quota", None),
        (1, "", "openai.AuthenticationError: Error code: 401 - {'error': {'message': 'Incorrect API key'}}", "auth", None),
        (1, "", "httpx.HTTPStatusError: Server error '503 Service Unavailable' for url 'http://x'", "overloaded", None),
        (1, "", "redis.exceptions.ConnectionError: Error 111 connecting to localhost:6379. Connection refused.", "infrastructure", None),
        (1, "", "write: No space left on device", "infrastructure", None),
        (1, "", "exit status 143, waited 429 ms, timeout quota 503", "crash", None),
        # The last thing said counts, and in 124 the reason stands before it.
        (1, "", "connection refused, trying again\n" + "\n" * 30 + "401 Unauthorized\n", "auth", None),
        (124, "", "Reconnecting... waiting for network", "network", None),
        (124, "working", "", "timeout", None),
        (137, "429 Too Many Requests", "", "resource", None),
        (-9, "429 Too Many Requests", "", "resource", None),
        (139, "429 Too Many Requests", "", "crash", None),
        (143, "429 Too Many Requests", "", "rate_limited", None),
        (130, "", "", "cancelled", None),
        (0, "429 Too Many Requests", "", "unknown", None),
    ],
)  # fmt: skip
def test_programs(code: int, stdout: str, stderr: str, kind_: str, wait: float | None) -> None:
    """What the agent programs print for each failure, as text and as bytes, and as an error of subprocess."""
    found = classify(subprocess.CompletedProcess(["x"], code, stdout, stderr), now=1e9)
    assert (found.kind, found.retry_after) == (kind_, wait), found.reason
    as_bytes = subprocess.CompletedProcess(["x"], code, stdout.encode(), stderr.encode())
    assert classify(as_bytes, now=1e9).kind == kind_
    if kind_ not in ("unknown", "crash"):
        called = subprocess.CalledProcessError(code, ["x"], stdout, stderr)
        assert kind(raised(RuntimeError("it failed"), called)) == kind_


def test_only_gemini_gives_its_codes_a_meaning() -> None:
    """41 is no login there, and a bug anywhere else."""
    assert kind(subprocess.CompletedProcess(["/usr/bin/gemini"], 41)) == "auth"
    assert kind(subprocess.CompletedProcess("gemini", 42)) == "bad_input"
    assert kind(subprocess.CompletedProcess(["x"], 41)) == "crash"


def test_a_deadline_of_subprocess_has_its_reason_before_it() -> None:
    """What the program printed until then, as bytes, says why it hung."""
    late = subprocess.TimeoutExpired("x", 3)
    assert kind(late) == "timeout"
    late.stdout = b"last status: 429 Too Many Requests"
    assert kind(late) == "rate_limited"


@given(st.text(), st.text())
def test_any_output_is_read_or_left(stdout: str, stderr: str) -> None:
    """No output makes it raise, or gives a class that is none."""
    said = classify_output((stdout, stderr))
    assert said is None or said.kind in CLASSES
