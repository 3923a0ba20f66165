"""Answers that are none: an error inside a 200, and an answer of a status that nobody raised.

Some providers, and gateways before them, answer 200 with an error where the answer should be; most client libraries
hand that on as an answer. An answer is looked at like an error is, by guarded looks that read nothing from the network,
and only for what says of itself that it is one: a sentence about errors is an answer like any other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from proofq.policies import fingerprints, looking, provider_status
from proofq.policies.classify import classify
from proofq.policies.failure import Failure

#: Longest body, in characters, in which an error is looked for: what is longer is an answer.
MAX_BODY: Final = looking.MAX_TEXT
#: Keys beside an error that say more of it; everything else of an answer may quote anything.
_OF_AN_ERROR: Final = frozenset({
    "error", "code", "type", "status", "message", "detail", "reason", "__type", "error_code", "retry_after",
    "retry_after_seconds", "resets_in_seconds", "resets_at",
})  # fmt: skip
#: Keys under which an answer that is there stands: OpenAI's, Anthropic's, Google's, Bedrock's.
_OF_AN_ANSWER: Final = ("choices", "content", "output", "candidates", "embeddings")
#: What an error says of itself beside its sentence.
_NAMES: Final = ("code", "type", "status", "reason", "metadata", "details", "param")


class _Answered(Exception):
    """An answer in the form of an error, as a client library would have raised it."""

    def __init__(self, status: int, headers: Any, body: Mapping[str, Any] | None, text: str) -> None:
        super().__init__(text)
        self.status_code, self.headers, self.body = status, headers, body


#: How reasons would call it.
_NAME: Final = fingerprints.type_name(_Answered(0, None, None, ""))


def failure_in(answer: object, now: float | None = None) -> Failure | None:
    """The failure that an answer carries inside although its status is a success, or it has none; None for an answer.

    Looked at: a mapping, JSON in text or bytes, an object of a client library with a field `error`, a response whose
    body has been read. Never raises, never blocks. `now`: as in `classify`.
    """
    try:
        status = _status(answer)
        if status is not None and not 200 <= status < 300:
            return None
        body = _error_body(answer)
        return None if body is None else _classified(200, answer, body, now)
    except Exception:  # noqa: BLE001 - somebody else's object, in a way nobody thought of
        return None


def failure_of_status(answer: object, now: float | None = None) -> Failure | None:
    """The failure that an HTTP response stands for by its status of 4xx or 5xx; None for other responses and things."""
    try:
        status = _status(answer)
        if status is None or status < 400:
            return None
        return _classified(status, answer, _parsed(_read_already(answer)), now)
    except Exception:  # noqa: BLE001 - as above
        return None


def _classified(status: int, answer: object, body: Mapping[str, Any] | None, now: float | None) -> Failure:
    text = "an error inside an answer" if status == 200 else f"an answer of status {status}"
    said = body.get("error") if body else None
    message = said.get("message") if isinstance(said, Mapping) else said
    text = f"{text}: {message}" if isinstance(message, str) and message else text
    found = classify(_Answered(status, looking.attribute(answer, "headers"), body, text), "run", now)
    # Nobody has raised that, so its name says nothing to anybody.
    return replace(found, reason=found.reason.replace(f"{_NAME}: ", ""))


# --- responses of HTTP clients -------------------------------------------------------------------------------------


def _status(answer: object) -> int | None:
    """Of a response: a number that is a status, beside headers."""
    if isinstance(answer, Mapping) or looking.attribute(answer, "headers") is None:
        return None
    for name in ("status_code", "status"):
        number = looking.number(looking.attribute(answer, name))
        if provider_status.is_status(number):
            return number
    return None


def _read_already(answer: object) -> Any:
    """The body of a response as far as it was read: httpx and requests keep it as `_content`, aiohttp as `_body`."""
    found = looking.stored(answer, "_content")
    return looking.stored(answer, "_body") if found is None else found


# --- bodies --------------------------------------------------------------------------------------------------------


def _error_body(answer: object) -> Mapping[str, Any] | None:
    """What of an answer is an error, without what it may quote; None where it is an answer."""
    body = _body(answer)
    if body is None or (body.get("status") != "failed" and _is_answer(body)):
        return None
    error = _plain(body.get("error"))
    # A text that is JSON may be what a model was asked for; a mapping was parsed for the caller.
    whole = isinstance(answer, Mapping) and isinstance(error, str) and error.strip()
    if whole or (isinstance(error, Mapping) and error.get("message") and any(error.get(name) for name in _NAMES)):
        return {name: value for name, value in body.items() if name in _OF_AN_ERROR} | {"error": error}
    return _of_aws(body)


def _body(answer: object) -> Mapping[Any, Any] | None:
    if isinstance(answer, Mapping):
        return answer
    if isinstance(answer, str | bytes | bytearray):
        return _parsed(answer)
    return _parsed(_read_already(answer)) or _fields(answer)


def _is_answer(body: Mapping[Any, Any]) -> bool:
    """Whether something stands where an answer does; a `message` that is no sentence is Cohere's or Ollama's."""
    said = body.get("message")
    return any(body.get(name) for name in _OF_AN_ANSWER) or bool(said and not isinstance(said, str))


def _of_aws(body: Mapping[Any, Any]) -> Mapping[str, Any] | None:
    kind, message = body.get("__type"), body.get("message", body.get("Message", ""))
    return {"__type": kind, "message": message} if isinstance(kind, str) and kind else None


def _parsed(said: Any) -> Mapping[str, Any] | None:
    """A JSON object in a text that is nothing else."""
    if not isinstance(said, str | bytes | bytearray) or len(said) > MAX_BODY:
        return None
    text = looking.text(said).strip()
    if not (text.startswith("{") and text.endswith("}")):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _fields(answer: object) -> Mapping[str, Any] | None:
    """The fields of a client library's object that has one called `error`; what its model does not know included."""
    fields, extra = _own(answer), looking.attribute(answer, "__pydantic_extra__")
    fields = {**fields, **extra} if isinstance(extra, Mapping) else fields
    return fields if "error" in fields else None


def _own(thing: object) -> Mapping[str, Any]:
    found = looking.attribute(thing, "__dict__")
    return found if isinstance(found, dict) else {}


def _plain(error: Any) -> Any:
    """An error that is an object of a library, as a mapping of its fields."""
    return error if error is None or isinstance(error, str | Mapping) else _own(error)
