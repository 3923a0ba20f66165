"""Keys out of texts that are kept: an error may quote the header it could not send."""

from __future__ import annotations

import re
from typing import Final

_KEYS: Final = (
    re.compile(r"(?P<keep>\b(?:bearer|basic|token)\s+)[A-Za-z0-9._~+/=\\-]{8,}", re.IGNORECASE),
    re.compile(
        r"(?P<keep>\b(?:x-api-key|api[_-]?key|access[_-]?token|secret|password|key)[\"']?\s*[=:]\s*b?[\"']?)"
        r"[A-Za-z0-9._~+/=\\-]{8,}",
        re.IGNORECASE,
    ),
    re.compile(r"(?P<keep>\b(?:sk|pk|rk|gsk|hf|xai|ghp|gho|AKIA|ASIA)[-_]?)[A-Za-z0-9_\-]{12,}"),
    re.compile(r"(?P<keep>\bAIza)[A-Za-z0-9_\-]{20,}"),
    re.compile(r"(?P<keep>://[^/\s:@]*:)[^@\s/]+(?=@)"),
)


def without_keys(text: str) -> str:
    """The text with everything that looks like a credential replaced by ***."""
    for key in _KEYS:
        text = key.sub(r"\g<keep>***", text)
    return text
