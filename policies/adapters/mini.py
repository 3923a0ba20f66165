"""The program `mini` (mini-swe-agent), run as `mini -t … -y --exit-immediately`, without `-o`.

It exits 0 on more ends than one, and draws its output for people. What it says of itself is the last message of its
trajectory, which it writes anew after each step: `exit_status`, "Submitted" when it is done talking.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from proofq.policies import strict_json
from proofq.policies.adapters import provider_errors
from proofq.policies.adapters.adapter import Adapter
from proofq.policies.adapters.generic import CLAIM_TAIL, exited, malformed
from proofq.policies.ended import Claim, Ending
from proofq.policies.failure import Failure

#: The last message of a trajectory, written with an indentation of 2; in a text of it no line can begin like this.
_MESSAGE: Final = b"\n    {\n"
_END: Final = re.compile(rb"\n  \],?\n")
#: Bounds of its own that it says to have reached: steps or money, time.
_BUDGETS: Final = frozenset({"LimitsExceeded", "TimeExceeded"})
#: What its client library calls the errors of a provider: their status. The names of others say nothing: a connection
#: that broke and an answer that is none are an InternalServerError there, too.
_STATUS: Final[Mapping[str, int]] = {
    "AuthenticationError": 401,
    "PermissionDeniedError": 403,
    "NotFoundError": 404,
    "Timeout": 408,
    "UnprocessableEntityError": 422,
    "RateLimitError": 429,
    "BadRequestError": 400,
    "ContextWindowExceededError": 400,
    "ContentPolicyViolationError": 400,
    "ServiceUnavailableError": 503,
    "BadGatewayError": 502,
}
#: Names that its client library gives to whatever it cannot place; the text says more.
_ANYTHING: Final = frozenset({"InternalServerError", "APIError", "APIConnectionError"})
#: Words of it for an answer that is none.
_NO_ANSWER: Final = ("received response", "invalid response")

#: Retries are the queue's. It asks nobody how it is to be set up, counts no money it does not know, and fetches no list
#: of prices.
ENV: Final[Mapping[str, str]] = {
    "MSWEA_CONFIGURED": "true",
    "MSWEA_MODEL_RETRY_STOP_AFTER_ATTEMPT": "1",
    "MSWEA_COST_TRACKING": "ignore_errors",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}


def outcome(ending: Ending, document: bool) -> Claim | Failure:
    """A claim only of a trajectory that ends as submitted; `document`: what it submitted is one JSON document."""
    last = _last_message(ending.transcript_end)
    extra = last.get("extra")
    if last.get("role") != "exit" or not isinstance(extra, dict):
        return _no_end() if ending.exit_code == 0 else exited(ending, ending.streams)
    status = _text(extra, "exit_status")
    if status != "Submitted":
        return _failure(status, _text(extra, "exception_str") or _text(last, "content"), ending)
    if ending.exit_code != 0:
        return exited(ending, ending.streams)
    submission = _text(extra, "submission")
    if not document:
        return Claim({"exit_code": 0, "exit_status": status, "submission": submission[:CLAIM_TAIL]})
    try:
        return Claim(strict_json.parse(submission.encode("utf-8", "replace")))
    except strict_json.NotStrict as problem:
        return malformed(f"what it submitted is not one strict JSON document: {problem}")


def _no_end() -> Failure:
    return malformed("its HOME has no trajectory of this attempt that came to an end: it was cut off, or run with -o")


def _failure(status: str, text: str, ending: Ending) -> Failure:
    if status in _BUDGETS:
        return Failure("budget", f"it stopped at a bound of its own: {status}", phase="run")
    if status == "RepeatedFormatError":
        return malformed("it gave up: the model's answers did not have the form that it asked for")
    if status in _ANYTHING:
        invented = any(each in text.lower() for each in _NO_ANSWER)
        return (
            malformed(f"its client could not read the provider's answer: {text[:300]}")
            if invented
            else _said(text, ending)
        )
    if status in _STATUS:
        return provider_errors.failure(_STATUS[status], "", text, now=ending.at)
    return exited(ending, ending.streams) if ending.exit_code != 0 else malformed(f"it ended as {status[:40]!r}")


def _said(text: str, ending: Ending) -> Failure:
    """By its text; where that tells nothing, the provider failed."""
    found = provider_errors.failure(None, "", text, now=ending.at)
    return found if found.kind != "unknown" else provider_errors.failure(500, "", text, now=ending.at)


def _last_message(trajectory_end: bytes) -> Mapping[str, Any]:
    """The last message of a trajectory, of which the end is at hand; {} where it cannot be read."""
    ends = list(_END.finditer(trajectory_end))
    begin = trajectory_end.rfind(_MESSAGE)
    if not ends or begin < 0 or begin > ends[-1].start():
        return {}
    try:
        message = strict_json.parse(trajectory_end[begin : ends[-1].start()])
    except strict_json.NotStrict:
        return {}
    return message if isinstance(message, dict) else {}


def _text(event: Mapping[str, Any], name: str) -> str:
    value = event.get(name)
    return value if isinstance(value, str) else ""


MINI: Final = Adapter("mini", outcome, (".config/mini-swe-agent/*.traj.json",), ENV)
