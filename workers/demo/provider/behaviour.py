"""What the provider can be asked to do, one word for each kind of answer.

A behaviour is the name of the model, or the first part of the path (`http://127.0.0.1:PORT/503/v1`), which wins:

    good                 does what the prompt asks: by the program's tool if it brought one, else by its answer
    lie                  says that it is done, and has done nothing
    cut stall reset      half an answer, then: the end as though it were whole; silence; a broken connection
    hang drip            never a byte; a word now and then, for ever
    html                 status 200 and a login page
    401 403 500 503 529  refused key, refused content, failing, overloaded, overloaded
    429 quota context    slow down; no credit (429); the prompt is too long (400)

`429after7` also says how long to wait, in the header Retry-After and in words; `503x2-then-good` is 503 twice, then
good for ever; `good-then-401` is good once. What stands after `@` (`good@a`) only tells two users of one behaviour
apart, each with its own count of calls.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Refusal:
    """An error answer. `code` is what OpenAI calls it, `kind` what Anthropic does; `message` is for people."""

    status: int
    code: str
    kind: str
    message: str
    retry_after_s: int | None = None


@dataclass(frozen=True)
class Step:
    """The answer to one call: a refusal, or the way an answer is given (`good` and all that are no status)."""

    way: str
    refusal: Refusal | None = None


#: Ways to answer with status 200, or not at all.
WAYS: Final = frozenset({"good", "lie", "cut", "stall", "reset", "hang", "drip", "html"})

REFUSALS: Final[Mapping[str, Refusal]] = {
    "401": Refusal(401, "invalid_api_key", "authentication_error", "Incorrect API key provided: dummy."),
    "403": Refusal(403, "content_policy_violation", "permission_error", "Your input was flagged by our moderation."),
    "429": Refusal(429, "rate_limit_exceeded", "rate_limit_error", "Rate limit reached for requests."),
    "quota": Refusal(
        429,
        "insufficient_quota",
        "billing_error",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "500": Refusal(500, "server_error", "api_error", "The server had an error while processing your request."),
    "503": Refusal(503, "service_unavailable", "api_error", "The engine is currently overloaded."),
    "529": Refusal(529, "overloaded_error", "overloaded_error", "Overloaded"),
    "context": Refusal(
        400,
        "context_length_exceeded",
        "invalid_request_error",
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens."
        " prompt is too long: 9001 tokens > 8192 maximum",
    ),
}

_STEP: Final = re.compile(r"(?P<word>\d{3}|[a-z]+)(?:after(?P<wait>\d{1,4}))?(?:x(?P<times>\d{1,3}))?")


class NoBehaviour(ValueError):
    """Nothing the provider can be asked for."""


@dataclass(frozen=True)
class Behaviour:
    """The steps of a behaviour, each with the number of calls it answers; the last answers all that come."""

    steps: tuple[tuple[Step, int], ...]

    def step(self, call: int) -> Step:
        """What the call of this number (1 is the first) gets."""
        for step, times in self.steps[:-1]:
            if call <= times:
                return step
            call -= times
        return self.steps[-1][0]


def parse(text: str) -> Behaviour:
    """Read a behaviour. Raises NoBehaviour for what is none."""
    return Behaviour(tuple(_read(part) for part in text.partition("@")[0].split("-then-")))


def _read(part: str) -> tuple[Step, int]:
    found = _STEP.fullmatch(part)
    if found is None or found["word"] not in WAYS | REFUSALS.keys():
        raise NoBehaviour(f"{part!r} is no behaviour; there are {', '.join(sorted(WAYS | REFUSALS.keys()))}")
    word, wait, times = found["word"], found["wait"], int(found["times"] or 1)
    refusal = REFUSALS.get(word)
    if refusal is None:
        return Step(word), times
    if wait is not None:
        told = f"{refusal.message} Please try again in {int(wait)}s."
        refusal = Refusal(refusal.status, refusal.code, refusal.kind, told, int(wait))
    return Step("refuse", refusal), times
