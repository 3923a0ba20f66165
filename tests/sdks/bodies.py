"""What providers answer, each in its own dialect: statuses, headers and bodies as they document them."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: The date of answers that name a time of day, and a minute and a half later.
DATE, LATER = "Fri, 21 Nov 2025 10:00:00 GMT", "Fri, 21 Nov 2025 10:01:30 GMT"
PAGE = b"<html><body>Please log in</body></html>"
PLAN = "You exceeded your current quota, please check your plan and billing details."
LONG = "This model's maximum context length is 8192 tokens, however you requested 9999 tokens"


@dataclass(frozen=True)
class Answer:
    """One answer as it goes over the wire."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Said:
    """What one answer says: the status, a sentence, and the words each dialect has for it."""

    status: int
    message: str
    openai: tuple[str, str | None]
    anthropic: str
    google: str
    aws: str
    mistral: str = "invalid_request_error"
    headers: Mapping[str, str] = field(default_factory=dict)
    details: tuple[Mapping[str, Any], ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)


def _quota(window: str) -> Mapping[str, Any]:
    return {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"quotaId": f"GenerateRequestsPer{window}PerProjectPerModel-FreeTier", "quotaValue": "2"}],
    }


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}
BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
LIMIT = (("tokens", "rate_limit_exceeded"), "rate_limit_error", "RESOURCE_EXHAUSTED", "ThrottlingException")
SLOW = "Rate limit reached for requests"
#: The one who speaks of a refused key, a limit and a document that quotes both, in a body about something else.
QUOTES = 'messages.0.content: unsupported value "Error: 429 Too Many Requests; invalid api key; insufficient_quota"'


def _limit(message: str = SLOW, headers: Mapping[str, str] | None = None, **more: Any) -> Said:
    words, anthropic, google, aws = LIMIT
    return Said(429, message, words, anthropic, google, aws, "rate_limited", headers or {}, **more)


#: By situation; dialects in which it looks different stand below.
SAID: dict[str, Said] = {
    "key": Said(
        401, "Incorrect API key provided: sk-xx", ("invalid_request_error", "invalid_api_key"), "authentication_error",
        "UNAUTHENTICATED", "UnrecognizedClientException",
    ),
    "forbidden": Said(
        403, "You have no access to this model", ("invalid_request_error", None), "permission_error",
        "PERMISSION_DENIED", "AccessDeniedException",
    ),
    "limit": _limit(),
    "limit_after": _limit(headers={"Retry-After": "120"}),
    "limit_date": _limit(headers={"Retry-After": LATER, "Date": DATE}),
    "limit_ms": _limit(headers={"retry-after-ms": "1500", "Retry-After": "2"}),
    "limit_reset": _limit(headers={
        "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m30s",
        "x-ratelimit-remaining-tokens": "9", "x-ratelimit-reset-tokens": "6m0s",
        "anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": "2025-11-21T10:01:30Z",
        "Date": DATE,
    }),
    "limit_prose": _limit("Rate limit reached. Please try again in 7.66s.", details=(_quota("Minute"), RETRY_INFO)),
    "credit": Said(
        429, PLAN, ("insufficient_quota", "insufficient_quota"), "billing_error", "RESOURCE_EXHAUSTED",
        "ServiceQuotaExceededException", "insufficient_quota", details=(_quota("Day"),),
    ),
    "pay": Said(
        402, "Payment required", ("insufficient_quota", None), "billing_error", "FAILED_PRECONDITION",
        "ServiceQuotaExceededException",
    ),
    "window": Said(
        429, "The usage limit has been reached", ("usage_limit_reached", "usage_limit_reached"), "usage_limit_reached",
        "RESOURCE_EXHAUSTED", "ServiceQuotaExceededException", "usage_limit_reached", details=(_quota("Day"),),
        more={"resets_in_seconds": 7200},
    ),
    "busy": Said(
        503, "The server is not ready", ("server_error", None), "api_error", "UNAVAILABLE",
        "ServiceUnavailableException", headers={"Retry-After": "7"},
    ),
    "overloaded": Said(
        529, "Overloaded", ("server_error", "overloaded"), "overloaded_error", "UNAVAILABLE",
        "ServiceUnavailableException",
    ),
    "broken": Said(500, "Oops", ("server_error", None), "api_error", "INTERNAL", "InternalServerException"),
    "gateway_late": Said(504, "Late", ("server_error", None), "timeout_error", "DEADLINE_EXCEEDED", "GatewayTimeout"),
    "edge_late": Said(524, "A timeout occurred", ("server_error", None), "timeout_error", "DEADLINE_EXCEEDED", "x"),
    "request_late": Said(
        408, "Request took too long", ("invalid_request_error", None), "timeout_error", "DEADLINE_EXCEEDED",
        "ModelTimeoutException",
    ),
    "context": Said(
        400, LONG, ("invalid_request_error", "context_length_exceeded"), "invalid_request_error", "INVALID_ARGUMENT",
        "ValidationException",
    ),
    "too_large": Said(
        413, "Request exceeds the maximum size", ("invalid_request_error", "request_too_large"), "request_too_large",
        "INVALID_ARGUMENT", "ValidationException",
    ),
    "refusal": Said(
        400, "The prompt was blocked by our safety system", ("invalid_request_error", "content_policy_violation"),
        "invalid_request_error", "INVALID_ARGUMENT", "ValidationException",
    ),
    "refusal_403": Said(
        403, "Your input was flagged by moderation", ("moderation_error", "moderation_blocked"), "moderation_error",
        "PERMISSION_DENIED", "AccessDeniedException",
    ),
    "bad": Said(
        400, "Unsupported parameter: 'x'", ("invalid_request_error", "unsupported_parameter"), "invalid_request_error",
        "INVALID_ARGUMENT", "ValidationException",
    ),
    "quotes": Said(
        400, QUOTES, ("invalid_request_error", "unsupported_value"), "invalid_request_error", "INVALID_ARGUMENT",
        "ValidationException",
    ),
    "missing": Said(
        404, "The model `m` does not exist", ("invalid_request_error", "model_not_found"), "not_found_error",
        "NOT_FOUND", "ResourceNotFoundException",
    ),
    "unprocessable": Said(
        422, "messages: field required", ("invalid_request_error", None), "invalid_request_error", "INVALID_ARGUMENT",
        "ValidationException",
    ),
}  # fmt: skip
#: As these say it, which is with another status or another word.
IN_DIALECT: dict[tuple[str, str], Said] = {
    ("google", "key"): Said(
        400, "API key not valid. Please pass a valid API key.", ("", None), "", "INVALID_ARGUMENT", "",
        details=(BAD_KEY,),
    ),
    ("aws", "key"): Said(
        403, "The security token included in the request is invalid.", ("", None), "", "",
        "UnrecognizedClientException",
    ),
    ("aws", "credit"): Said(400, "Too many tokens per day", ("", None), "", "", "ServiceQuotaExceededException"),
    ("aws", "limit"): Said(400, "Too many requests, please wait", ("", None), "", "", "ThrottlingException"),
    ("anthropic", "credit"): Said(
        400, "Your credit balance is too low to access the Anthropic API.", ("", None), "invalid_request_error", "", "",
    ),
    ("anthropic", "context"): Said(
        400, "prompt is too long: 210000 tokens > 200000 maximum", ("", None), "invalid_request_error", "", "",
    ),
    ("aws", "context"): Said(400, "Input is too long for requested model.", ("", None), "", "", "ValidationException"),
    ("google", "context"): Said(
        400, "The input token count (210000) exceeds the maximum number of tokens allowed (200000).", ("", None), "",
        "INVALID_ARGUMENT", "",
    ),
}  # fmt: skip


def answer(dialect: str, situation: str) -> Answer:
    """The whole answer of a situation that is one."""
    if situation == "page":
        return Answer(200, PAGE, {"Content-Type": "text/html"})
    if situation == "gateway_page":
        return Answer(502, b"<html><h1>502 Bad Gateway</h1></html>", {"Content-Type": "text/html"})
    if situation == "half_json":
        return Answer(200, b'{"id": "x", "choices": [', {"Content-Type": "application/json"})
    if situation == "nothing":
        return Answer(200, b"", {"Content-Type": "application/json"})
    if situation.startswith("inside_200_"):
        said = _said(dialect, situation.removeprefix("inside_200_"))
        return Answer(200, _body(dialect, said), {"Content-Type": "application/json", **said.headers})
    said = _said(dialect, situation)
    own = {"x-amzn-ErrorType": said.aws} if dialect == "aws" else {}
    return Answer(said.status, _body(dialect, said), {"Content-Type": "application/json", **own, **said.headers})


def stream(dialect: str) -> tuple[str, bytes, bytes]:
    """Content type, how a stream begins, and the event by which it says that it is overloaded."""
    kind, events = "text/event-stream", ""
    said = SAID["overloaded"]
    match dialect:
        case "anthropic":
            message = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "m"}
            usage = {"stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}
            events = _event({"type": "message_start", "message": {**message, **usage}}, "message_start")
            broken = _event(json.loads(_body("anthropic", said)), "error")
        case "google":
            events = _event({"candidates": [{"content": {"role": "model", "parts": [{"text": "x"}]}}]})
            broken = _event({"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}})
        case "aws":
            begun = _frame({":event-type": "messageStart", ":message-type": "event"}, {"role": "assistant"})
            error = {":exception-type": "throttlingException", ":message-type": "exception"}
            return "application/vnd.amazon.eventstream", begun, _frame(error, {"message": "Too many requests"})
        case "ollama":
            chunk = {"model": "m", "message": {"role": "assistant", "content": "x"}, "done": False}
            line, broken = json.dumps(chunk) + "\n", json.dumps({"error": "server is busy, try again"}) + "\n"
            return "application/x-ndjson", line.encode(), broken.encode()
        case "cohere":
            events = _event({"type": "message-start", "id": "x", "delta": {"message": {"role": "assistant"}}})
            broken = _event({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "Overloaded"}})
        case _:
            chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
            choice = {"index": 0, "delta": {"role": "assistant", "content": "x"}, "finish_reason": None}
            events = _event({**chunk, "choices": [choice]})
            broken = _event({"error": {"message": "Overloaded", "type": "server_error", "code": "overloaded"}})
    return kind, events.encode(), broken.encode()


def _said(dialect: str, situation: str) -> Said:
    return IN_DIALECT.get((dialect, situation)) or SAID[situation]


def _body(dialect: str, said: Said) -> bytes:
    match dialect:
        case "anthropic":
            whole: Any = {"type": "error", "error": {"type": said.anthropic, "message": said.message}}
        case "google":
            error = {"code": said.status, "message": said.message, "status": said.google}
            whole = {"error": {**error, "details": list(said.details)} if said.details else error}
        case "aws" | "cohere":
            whole = {"message": said.message}
        case "mistral":
            whole = {"object": "error", "message": said.message, "type": said.mistral, "code": "1300"}
        case "ollama" | "huggingface":
            whole = {"error": said.message}
        case _:
            type_, code = said.openai
            whole = {"error": {"message": said.message, "type": type_, "param": None, "code": code, **said.more}}
    return json.dumps(whole).encode()


def _event(data: Any, name: str = "") -> str:
    return (f"event: {name}\n" if name else "") + f"data: {json.dumps(data)}\n\n"


def _frame(headers: Mapping[str, str], payload: Any) -> bytes:
    """One message of AWS's event stream."""
    packed = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in headers.items()
    )
    body = json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(packed) + len(body), len(packed))
    begun = prelude + struct.pack(">I", zlib.crc32(prelude)) + packed + body
    return begun + struct.pack(">I", zlib.crc32(begun))
