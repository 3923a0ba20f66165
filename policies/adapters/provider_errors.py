"""The class of a failure that a client tells of: by the provider's status, its own word for it, and its text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proofq.policies import phrases, provider_codes, provider_status, redaction, waits
from proofq.policies.exits import source_of
from proofq.policies.failure import Failure

#: Words of clients that no provider uses.
_WORDS: Final[Mapping[str, str]] = {
    "authentication_failed": "auth",
    "invalid_request": "bad_input",
    "max_output_tokens": "malformed_output",
}
#: What stands in the text of a client, in lower case, of an answer that is none: cut off, or somebody else's page.
_NO_ANSWER: Final = ("empty or malformed response", "output token maximum")
#: Characters of the text that the reason keeps.
_TEXT: Final = 400


def failure(status: int | None, word: str, text: str, wait_s: float | None = None, now: float | None = None) -> Failure:
    """The failure of the provider, or of the way to it; `unknown` where nothing tells.

    `wait_s`: how long it asked to wait, where the client passed that on; else the text is asked, which may name a
    moment: `now`, in seconds since 1970.
    """
    kind = _kind(status, word, text)
    said = f"the provider answered {status}" if status else "its client failed"
    reason = redaction.without_keys(" ".join((text or word).split())[:_TEXT])
    source = "task" if kind == "unknown" else source_of(kind)
    wait_s = waits.of_text(text, now) if wait_s is None else wait_s
    return Failure(kind, f"{said}: {reason}", source, "run", wait_s, fingerprint=f"provider:{status or kind}")


def _kind(status: int | None, word: str, text: str) -> str:
    kinds = phrases.kinds(text)
    if any(each in text.lower() for each in _NO_ANSWER):
        kinds.add("malformed_output")
    proven = provider_codes.proven(word)
    words = [proven] if proven else []
    if status is not None and provider_status.is_status(status):
        return provider_status.narrowed(status, words, kinds) or provider_status.kind(status)
    found = provider_status.first([*words, *kinds])
    return found or _WORDS.get(word) or provider_codes.general(word) or "unknown"
