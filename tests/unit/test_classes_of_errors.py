"""Every class of failure from the errors that stand for it, shaped like those of real libraries."""

# ruff: noqa: E501 - a row of a table is a line

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import json
import socket
import sqlite3
import ssl
import subprocess
from collections import Counter
from typing import Any

import pytest
import redis

from proofq.policies.classes import CLASSES
from proofq.policies.classify import classify
from tests.unit.fakes import answer, anthropic, aws, error, google, grpc, openai, raised

PER_MINUTE = {"violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}]}
PER_DAY = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
DELAY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}
PLAN = "You exceeded your current quota, please check your plan and billing details."


def done(code: int, stdout: str = "", stderr: str = "", program: str = "x") -> Any:
    return subprocess.CompletedProcess([program], code, stdout, stderr)


#: (what is met, class, seconds asked for); the text names the case.
CASES: list[tuple[str, Any, str, float | None]] = [
    ("openai", openai(429, "Rate limit", "tokens", "rate_limit_exceeded", retry_after="120"), "rate_limited", 120),
    ("openai prose", openai(429, "Please try again in 7.66s.", "tokens", "rate_limit_exceeded"), "rate_limited", 7.66),
    ("no time", openai(429, "slow down", "requests", "rate_limit_exceeded"), "rate_limited", None),
    ("anthropic", anthropic(429, "rate_limit_error", retry_after="33"), "rate_limited", 33),
    ("google per minute", google(429, "RESOURCE_EXHAUSTED", PLAN, (PER_MINUTE, DELAY)), "rate_limited", 34.07),
    ("google bare", google(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."), "rate_limited", None),
    ("aws 400", aws(400, "ThrottlingException", "Too many requests, please wait"), "rate_limited", None),
    ("aws table", aws(400, "ProvisionedThroughputExceededException"), "rate_limited", None),
    ("aws stream", error("EventStreamError", "x", "botocore", response={"Error": {"Code": "throttlingException"}}), "rate_limited", None),
    ("s3 503", aws(503, "SlowDown", "Please reduce your request rate."), "rate_limited", None),
    ("grpc", grpc("RESOURCE_EXHAUSTED", "too fast"), "rate_limited", None),
    ("pydantic-ai", error("ModelHTTPError", "x", "pydantic_ai", status_code=429, retry_after=12, body=None), "rate_limited", 12),
    ("urllib3", error("MaxRetryError", "too many 429 error responses", "urllib3"), "rate_limited", None),
    ("200 around a 429", error("E", "x", "openai", status_code=200, body={"error": {"code": 429, "message": "slow"}}), "rate_limited", None),
    ("a name alone", error("RateLimitError"), "rate_limited", None),
    ("insufficient", openai(429, PLAN, "insufficient_quota", "insufficient_quota"), "quota", None),
    ("anthropic 400", anthropic(400, "invalid_request_error", "Your credit balance is too low to access"), "quota", None),
    ("openai 400", openai(400, "Billing hard limit has been reached", "invalid_request_error", "billing_hard_limit_reached"), "quota", None),
    ("402", error("APIStatusError", "pay", "openai", status_code=402), "quota", None),
    ("moonshot", openai(429, "x", "exceeded_current_quota_error"), "quota", None),
    ("z.ai", openai(429, "Insufficient balance", None, "1113"), "quota", None),
    ("chatgpt", error("E", "", "openai", status_code=429, body={"error": {"type": "usage_limit_reached", "resets_in_seconds": 7200}}), "quota", 7200),
    ("google per day", google(429, "RESOURCE_EXHAUSTED", PLAN, (PER_DAY, DELAY)), "quota", 34.07),
    ("bedrock per day", aws(429, "ThrottlingException", "Too many tokens per day, please wait before trying again."), "quota", None),
    ("503", openai(503, "busy", retry_after="7"), "overloaded", 7),
    ("529", anthropic(529, "overloaded_error"), "overloaded", None),
    ("stream began with 200", anthropic(200, "overloaded_error", "Overloaded"), "overloaded", None),
    ("bare stream error", error("APIError", "oops", "openai", code=None, type="server_error", body={"type": "server_error"}), "overloaded", None),
    ("openrouter stream", error("APIError", "oops", "openai", code=502, type=None, body={"code": 502}), "overloaded", None),
    ("google stream", error("ServerError", "x", "google.genai", code=503, status="UNAVAILABLE", response=answer(200)), "overloaded", None),
    ("moonshot busy", openai(429, "The engine is currently overloaded", "engine_overloaded_error"), "overloaded", None),
    ("bedrock not ready", aws(429, "ModelNotReadyException"), "overloaded", None),
    ("groq 498", error("APIStatusError", "Error code: 498 capacity exceeded", "groq", status_code=498, body={}), "overloaded", None),
    ("504", error("HTTPStatusError", "x", "httpx", response=answer(504)), "overloaded", None),
    ("litellm's 500", error("InternalServerError", "x", "litellm", status_code=500), "overloaded", None),
    ("grpc away", grpc("UNAVAILABLE", "try later"), "overloaded", None),
    ("an open breaker", error("CircuitBreakerError", "Timeout not elapsed yet, circuit breaker still open", "pybreaker"), "overloaded", None),
    ("litellm cooling", error("RouterRateLimitError", "No deployments", "litellm", (ValueError,), cooldown_time=5), "overloaded", 5),
    ("401", openai(401, "Incorrect API key provided", "invalid_request_error", "invalid_api_key"), "auth", None),
    ("401 about quota", openai(401, PLAN, "insufficient_quota", "insufficient_quota"), "auth", None),
    ("403", anthropic(403, "permission_error"), "auth", None),
    ("google 400", google(400, "INVALID_ARGUMENT", "API key not valid.", ({"reason": "API_KEY_INVALID"},)), "auth", None),
    ("aws 400 expired", aws(400, "ExpiredTokenException"), "auth", None),
    ("suspended 400", openai(400, "Your organization has been suspended", "invalid_request_error"), "auth", None),
    ("cohere 498", error("InvalidTokenError", "x", "cohere", status_code=498, body={"message": "deny-listed"}), "auth", None),
    ("missing, anthropic", TypeError('"Could not resolve authentication method. Expected one of api_key'), "auth", None),
    ("missing, google", ValueError("Missing key inputs argument! To use the Google AI API"), "auth", None),
    ("missing, openai", error("OpenAIError", "The api_key client option must be set", "openai"), "auth", None),
    ("missing, aws", error("NoCredentialsError", "Unable to locate credentials", "botocore"), "auth", None),
    ("refused", ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "network", None),
    ("dns", socket.gaierror(-2, "Name or service not known"), "network", None),
    ("tls", ssl.SSLCertVerificationError(1, "certificate verify failed"), "network", None),
    ("openai's wrapper", error("APIConnectionError", "Connection error.", "openai"), "network", None),
    ("httpx", error("RemoteProtocolError", "peer closed", "httpx"), "network", None),
    ("httpx2", error("ConnectError", "[Errno 111]", "httpx2"), "network", None),
    ("aiohttp", error("ClientPayloadError", "", "aiohttp"), "network", None),
    ("connect time-out", error("ConnectTimeout", "", "httpx", (error("TimeoutException", "", "httpx").__class__,)), "network", None),
    ("nobody answered", TimeoutError(errno.ETIMEDOUT, "Connection timed out"), "network", None),
    ("grpc refused", grpc("UNAVAILABLE", "failed to connect to all addresses"), "network", None),
    ("ours", TimeoutError("late"), "timeout", None),
    ("httpx read", error("ReadTimeout", "", "httpx2"), "timeout", None),
    ("openai's", error("APITimeoutError", "Request timed out.", "openai", (error("APIConnectionError", "", "openai").__class__,)), "timeout", None),
    ("408", error("Timeout", "x", "litellm", status_code=408), "timeout", None),
    ("524", openai(524, "a timeout occurred"), "timeout", None),
    ("rq", error("JobTimeoutException", "", "rq"), "timeout", None),
    ("grpc late", grpc("DEADLINE_EXCEEDED", "Deadline Exceeded"), "timeout", None),
    ("both", error("RunTimedOut", "", "pydantic_ai", (error("RunCancelled").__class__, TimeoutError)), "timeout", None),
    ("openai context", openai(400, "maximum context length", "invalid_request_error", "context_length_exceeded"), "context_overflow", None),
    ("anthropic context", anthropic(400, "invalid_request_error", "prompt is too long: 210000 tokens"), "context_overflow", None),
    ("groq 413", openai(413, "Request too large for model on tokens per minute", "tokens", "rate_limit_exceeded"), "context_overflow", None),
    ("litellm context", error("ContextWindowExceededError", "x", "litellm", status_code=400), "context_overflow", None),
    ("groq json", openai(400, "Failed to generate JSON", "invalid_request_error", "json_validate_failed"), "malformed_output", None),
    ("login page", error("APIResponseValidationError", "x", "openai", status_code=200, response=answer(200, b"<html>")), "malformed_output", None),
    ("aiohttp page", error("ContentTypeError", "", "aiohttp", status=200, headers={}, request_info=1), "malformed_output", None),
    ("pydantic", error("ValidationError", "1 validation error", "pydantic_core", (ValueError,)), "malformed_output", None),
    ("json", json.JSONDecodeError("Expecting value", "<html>", 0), "malformed_output", None),
    ("openai filter", openai(400, "filtered", None, "content_filter"), "content_refused", None),
    ("openrouter 403", error("E", "x", "openai", status_code=403, body={"message": "requires moderation", "metadata": {"reasons": ["x"]}}), "content_refused", None),
    ("bedrock 403", aws(403, "AccessDeniedException", "blocked by guardrail policy"), "content_refused", None),
    ("invalid prompt", openai(400, "x", "invalid_request_error", "invalid_prompt"), "content_refused", None),
    ("litellm policy", error("ContentPolicyViolationError", "x", "litellm", status_code=400), "content_refused", None),
    ("agents' turns", error("MaxTurnsExceeded", "Max turns (10) exceeded", "agents"), "budget", None),
    ("pydantic-ai's", error("UsageLimitExceeded", "x", "pydantic_ai"), "budget", None),
    ("litellm's 422", error("BudgetExceededError", "x", "litellm", status_code=422), "budget", None),
    ("claude's turns", done(1, '{"subtype":"error_max_turns"}'), "budget", None),
    ("400", openai(400, "Unsupported parameter", "invalid_request_error", "unsupported_parameter"), "bad_input", None),
    ("404", openai(404, "The model does not exist", "invalid_request_error", "model_not_found"), "bad_input", None),
    ("422", error("UnprocessableEntityError", "x", "openai", status_code=422), "bad_input", None),
    ("grpc too large", grpc("RESOURCE_EXHAUSTED", "Received message larger than max (9 vs. 4)"), "bad_input", None),
    ("streaming wanted", ValueError("Streaming is required for operations that may take longer than 10 minutes"), "bad_input", None),
    ("redis auth", redis.AuthenticationError("NOAUTH"), "infrastructure", None),
    ("redis away", error("ConnectionError", "refused", "redis"), "infrastructure", None),
    ("psycopg", error("OperationalError", "password authentication failed", "psycopg", sqlstate=None), "infrastructure", None),
    ("sqlite", sqlite3.OperationalError("database is locked"), "infrastructure", None),
    ("a lock", error("Timeout", "lock", "filelock", (TimeoutError,)), "infrastructure", None),
    ("disk full", OSError(errno.ENOSPC, "full"), "infrastructure", None),
    ("memory", MemoryError(), "resource", None),
    ("files", OSError(errno.EMFILE, "too many"), "resource", None),
    ("killed", done(-9), "resource", None),
    ("node's heap", done(134, "", "FATAL ERROR: JavaScript heap out of memory"), "crash", None),
    ("bug", KeyError("x"), "crash", None),
    ("own code", error("Mine", "x", code=429, status=429), "unknown", None),
    ("nobody knows", error("Odd"), "unknown", None),
    ("a number in a text", error("Odd", "429 timeout quota"), "unknown", None),
    ("nothing", done(0, "Error: 401 Unauthorized"), "unknown", None),
    ("asyncio", asyncio.CancelledError(), "cancelled", None),
    ("futures", concurrent.futures.CancelledError(), "cancelled", None),
    ("terminated", done(143), "cancelled", None),
]  # fmt: skip


@pytest.mark.parametrize(("met", "kind", "wait"), [one[1:] for one in CASES], ids=[one[0] for one in CASES])
def test_one_of_each(met: Any, kind: str, wait: float | None) -> None:
    """Class and wait of each, by itself."""
    found = classify(met)
    assert found.kind == kind, found.reason
    assert found.retry_after == (None if wait is None else pytest.approx(wait))


@pytest.mark.parametrize(("met", "kind"), [(one[1], one[2]) for one in CASES], ids=[one[0] for one in CASES])
def test_the_same_behind_an_error_that_says_nothing(met: Any, kind: str) -> None:
    """Wrapped by a user's own error, in a group, or in tenacity's, the cause still speaks."""
    if not isinstance(met, BaseException) or kind in ("crash", "unknown", "cancelled"):
        return
    future: Any = concurrent.futures.Future()
    future.set_exception(met)
    wrapped = [
        raised(error("Wrapper", "step failed"), met),
        raised(RuntimeError("while handling"), met, during=True),
        raised(RuntimeError("outer"), raised(error("Middle"), met)),
        error("RetryError", "", "tenacity", last_attempt=future),
        error("Wrapper", "", original_exception=met),
        error("URLError", "", "somewhere", reason=met),
        BaseExceptionGroup("at once", [ValueError("x"), met]),
    ]
    assert [classify(one).kind for one in wrapped[:-2]] == [kind] * 5
    assert classify(wrapped[-1]).kind == kind


def test_every_class_is_met_three_times() -> None:
    """Classes that no library raises aside: those of the heart, and what only a proof or a killer says."""
    not_raised = {
        "stalled",
        "no_progress",
        "start_unconfirmed",
        "lost_worker",
        "unverified",
        "handoff_broken",
        "policy_error",
        "effect_unknown",
    }
    met = Counter(kind for _, _, kind, _ in CASES)
    assert met.keys() == CLASSES.keys() - not_raised
    rare = {kind for kind, count in met.items() if count < 3 and kind != "crash"}
    assert rare == set()


@pytest.mark.parametrize(
    ("met", "source"),
    [
        (openai(401, "x"), "provider"), (openai(503, "x"), "provider"), (openai(400, "x"), "task"),
        (error("ReadTimeout", "", "httpx"), "provider"), (TimeoutError(), "task"), (done(124), "task"),
        (redis.ConnectionError("x"), "store"), (OSError(errno.ENOSPC, "x"), "host"), (MemoryError(), "host"),
        (error("MaxTurnsExceeded"), "task"), (error("ValidationError", "", "pydantic_core"), "task"),
        (ConnectionRefusedError(), "provider"), (PermissionError(errno.EACCES, "x"), "task"),
    ],
)  # fmt: skip
def test_who_is_to_blame(met: Any, source: str) -> None:
    """The provider only for what is the provider's: its gate will go by that."""
    assert classify(met).source == source


def test_an_open_breaker_is_no_new_failure() -> None:
    """It is marked as ours: nobody was asked."""
    found = classify(error("CircuitBreakerError", "open", "pybreaker"))
    assert (found.kind, found.source) == ("overloaded", "host")
    assert "nobody was asked" in found.reason


def test_phases_have_two_names() -> None:
    """A schema that does not fit is the input's fault before the request, the output's after it."""
    mismatch = error("ValidationError", "x", "pydantic_core", (ValueError,))
    assert [(classify(mismatch, phase).kind, classify(mismatch, phase).phase) for phase in
            ("request", "inputs", "response", "output", "run", None, "nonsense")] == [
        ("bad_input", "inputs"), ("bad_input", "inputs"), ("malformed_output", "output"), ("malformed_output", "output"),
        ("malformed_output", "run"), ("malformed_output", None), ("malformed_output", None),
    ]  # fmt: skip
