"""The class of a failure that a provider's status, a client's word for it, or its text tells of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proofq.policies.failure import Failure

#: Class by HTTP status. 400, 403 and 429 carry other things too, which only the text tells; see `_TEXTS`.
_STATUSES: Final[Mapping[int, str]] = {
    400: "bad_input",
    401: "auth",
    402: "quota",
    403: "auth",
    404: "bad_input",
    408: "timeout",
    413: "bad_input",
    422: "bad_input",
    429: "rate_limited",
    500: "overloaded",
    502: "overloaded",
    503: "overloaded",
    504: "timeout",
    524: "timeout",
    529: "overloaded",
}
#: Class by the word a client has for it, where it gives no status.
_WORDS: Final[Mapping[str, str]] = {
    "authentication_failed": "auth",
    "oauth_org_not_allowed": "auth",
    "billing_error": "quota",
    "rate_limit": "rate_limited",
    "overloaded": "overloaded",
    "server_error": "overloaded",
    "invalid_request": "bad_input",
    "model_not_found": "bad_input",
    "max_output_tokens": "malformed_output",
}
#: Class by what stands in the text, in lower case; the first that is found counts.
_TEXTS: Final[tuple[tuple[str, str], ...]] = (
    ("prompt is too long", "context_overflow"),
    ("credit balance is too low", "quota"),
    ("usage limit", "quota"),
    ("exceeded your current quota", "quota"),
    ("usage policy", "content_refused"),
    ("flagged by our moderation", "content_refused"),
    ("invalid api key", "auth"),
    ("not logged in", "auth"),
    ("/login", "auth"),
    ("authentication_error", "auth"),
    ("overloaded_error", "overloaded"),
    ("rate_limit_error", "rate_limited"),
    ("output token maximum", "malformed_output"),
    ("request timed out", "timeout"),
    ("connection error", "network"),
    ("unable to connect", "network"),
    # An answer that is none: cut off in the middle, or the page of somebody in between.
    ("empty or malformed response", "malformed_output"),
    ("failed to parse json", "malformed_output"),
)


def failure(status: int | None, word: str, text: str, wait_s: float | None = None) -> Failure:
    """The failure of the provider, or of the way to it; `unknown` where nothing tells. `wait_s`: asked for by it."""
    lowered = text.lower()
    kind = next((kind for phrase, kind in _TEXTS if phrase in lowered), None)
    kind = kind or _STATUSES.get(status or 0) or _WORDS.get(word, "unknown")
    said = f"the provider answered {status}" if status else "its client failed"
    reason = " ".join(f"{said}: {text or word}".split())[:500]
    return Failure(kind, reason, "provider", "run", wait_s, fingerprint=f"provider:{status or kind}")
