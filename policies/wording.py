"""The class that a text says, be it an error's message or a line that a program printed."""

from __future__ import annotations

from proofq.policies import phrases, provider_codes, provider_status


def judge_text(text: str) -> tuple[str | None, int | None]:
    """The class that a text says, and the status in it: the status, narrowed by what else stands there."""
    status = phrases.status(text)
    words = [kind for kind in map(provider_codes.proven, provider_codes.in_text(text)) if kind]
    kinds = phrases.kinds(text)
    if status is None:
        return provider_status.first([*words, *kinds]), None
    return provider_status.narrowed(status, words, kinds) or provider_status.kind(status), status
