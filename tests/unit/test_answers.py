"""Errors inside of answers: found where an answer says of itself that it is none, and nowhere else."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import httpx
import pydantic
import pytest
import requests

from proofq.policies.answers import MAX_BODY, failure_in, failure_of_status
from proofq.policies.classify import classify
from proofq.workers.errors import ErrorInside

KEY: dict[str, Any] = {
    "error": {"message": "Incorrect API key: sk-***.", "type": "invalid_request_error", "code": "invalid_api_key"}
}
CHOICES = [{"message": {"role": "assistant", "content": "the error was invalid_api_key"}}]


class Model(pydantic.BaseModel):
    """As client libraries have them: what they do not know they keep beside."""

    model_config = pydantic.ConfigDict(extra="allow")
    choices: Any = None


class Response(pydantic.BaseModel):
    """An answer of OpenAI's newer interface."""

    status: str
    output: list[Any]
    error: Any = None
    text: Any = {"format": {"type": "text"}}


class Said(pydantic.BaseModel):
    """An error that is an object of a library."""

    code: str
    message: str


def _requests(status: int, body: bytes | bool, **headers: str) -> requests.Response:
    made = requests.Response()
    made.status_code, made._content = status, body  # type: ignore[assignment]
    made.headers.update(headers)
    return made


@pytest.mark.parametrize(
    ("answer", "kind", "wait_s"),
    [
        (KEY, "auth", None),
        (json.dumps(KEY), "auth", None),
        (json.dumps(KEY).encode(), "auth", None),
        ({"error": "Unauthorized"}, "auth", None),
        ({"error": "rate_limit_exceeded", "retry_after": 12}, "rate_limited", 12.0),
        # OpenRouter, z.ai, Anthropic, Google, ChatGPT's plan, AWS.
        ({"error": {"message": "Provider returned error", "code": 502}, "user_id": "u"}, "overloaded", None),
        ({"error": {"code": "1113", "message": "please recharge"}}, "quota", None),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "overloaded", None),
        ({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "slow",
                    "details": [{"@type": "RetryInfo", "retryDelay": "34s"}]}}, "rate_limited", 34.0),
        ({"error": {"type": "usage_limit_reached", "message": "x", "resets_in_seconds": 60}}, "quota", 60.0),
        # What it quotes beside the error is not looked at.
        ({"error": {"message": "broke", "code": "server_error"}, "request": {"error": {"code": "invalid_api_key"}}},
         "overloaded", None),
        ({"error": {"message": "broke", "code": "server_error"}, "retryDelay": "500s"}, "overloaded", None),
        ({"__type": "ThrottlingException", "message": "Rate exceeded"}, "rate_limited", None),
        (Model.model_validate(KEY), "auth", None),
        (Response(status="failed", output=[1], error=Said(code="server_error", message="broke")), "overloaded", None),
        (SimpleNamespace(error={"message": "no", "code": 401}, choices=None), "auth", None),
        (httpx.Response(200, json=KEY), "auth", None),
        (_requests(200, json.dumps(KEY).encode()), "auth", None),
    ],
)  # fmt: skip
def test_an_error_inside(answer: object, kind: str, wait_s: float | None) -> None:
    """In every form in which client libraries hand it on; the wait that stands beside it counts."""
    found = failure_in(answer, 0.0)
    assert found is not None
    assert (found.kind, found.retry_after_s, found.source) == (kind, wait_s, "provider")
    # Whoever lets it end the attempt has that class.
    raised = classify(ErrorInside("p", found, answer))
    assert (raised.kind, raised.retry_after_s, raised.source) == (kind, wait_s, "provider")
    assert found.reason.startswith("an error inside an answer")
    assert raised.reason.endswith(f"p answered with {kind} inside a success: {found.reason}")


class Hostile:
    """Whatever one looks at raises."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


@pytest.mark.parametrize(
    "answer",
    [
        None, 0, "", b"", "invalid_api_key", "Error: 401 Unauthorized", [], [KEY], {}, {"error": None}, {"error": ""},
        {"error": {}}, {"error": False}, {"error": 0}, {"errors": [KEY]}, {"detail": "Unauthorized"},
        {"choices": CHOICES, "error": None}, {"choices": CHOICES}, {**KEY, "choices": CHOICES},
        {"content": [{"type": "text", "text": "x"}], **KEY}, {"message": {"content": "x"}, **KEY},
        # What a model was asked for, a page, two documents, half of one, a long one.
        json.dumps({"error": "invalid_api_key"}), json.dumps({"log": KEY}), "<html>401 Unauthorized</html>",
        json.dumps(KEY) * 2, json.dumps(KEY)[:-1], f"Here: {json.dumps(KEY)}",
        json.dumps({**KEY, "pad": "x" * MAX_BODY}), "{" * 5000 + "}" * 5000,
        Model(choices=CHOICES), Model.model_validate({**KEY, "choices": CHOICES}),
        Response(status="completed", output=["done"], error=None),
        # An object of somebody's own that calls something `error` in words.
        SimpleNamespace(error="rate_limit_exceeded"), SimpleNamespace(error=None), ValueError("invalid_api_key"),
        httpx.Response(200, text="invalid_api_key"), httpx.Response(200, stream=httpx.ByteStream(b"{}")),
        _requests(200, False), _requests(200, b"{}"), iter(["x"]), Hostile, KEY.get,
    ],
)  # fmt: skip
def test_an_answer_is_an_answer(answer: object) -> None:
    """What merely speaks of errors, or has an answer beside one, is left alone."""
    assert failure_in(answer) is None
    assert failure_of_status(answer) is None


def test_looking_never_raises() -> None:
    """Whatever somebody else's object does."""
    assert failure_in(Hostile()) is None
    assert failure_of_status(Hostile()) is None


@pytest.mark.parametrize(
    ("answer", "kind", "wait_s"),
    [
        (httpx.Response(401, json=KEY), "auth", None),
        (httpx.Response(429, headers={"Retry-After": "7"}), "rate_limited", 7.0),
        (httpx.Response(429, json={"error": {"code": "insufficient_quota", "message": "x"}}), "quota", None),
        (_requests(503, False, **{"Retry-After": "3"}), "overloaded", 3.0),
        (_requests(404, b"nothing here"), "bad_input", None),
        (SimpleNamespace(status=529, headers={}), "overloaded", None),
    ],
)
def test_a_status_that_nobody_raised(answer: object, kind: str, wait_s: float | None) -> None:
    """Is no error inside an answer, and a failure all the same."""
    assert failure_in(answer) is None
    found = failure_of_status(answer)
    assert found is not None
    assert (found.kind, found.retry_after_s) == (kind, wait_s)
    assert found.reason.startswith("an answer of status ")
    assert failure_of_status(SimpleNamespace(status=500)) is None
