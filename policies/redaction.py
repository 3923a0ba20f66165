"""Keys out of texts that are kept: an error may quote the header it could not send."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

#: What stands where a known key stood.
HIDDEN: Final = "[key]"
#: A shorter value is no secret, and to hide it would eat words.
MIN_CHARACTERS: Final = 8

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


def spellings(key: str) -> tuple[str, ...]:
    """How a known key can stand in a text: as it is, and as JSON escapes it; none for one too short to be a secret."""
    if len(key) < MIN_CHARACTERS:
        return ()
    return tuple(dict.fromkeys((key, json.dumps(key)[1:-1], json.dumps(key, ensure_ascii=False)[1:-1])))


def without(value: Any, known: Collection[str]) -> Any:
    """A JSON value with the known keys hidden in every text of it, names of objects included."""
    if isinstance(value, str):
        for key in known:
            value = value.replace(key, HIDDEN)
        return value
    if isinstance(value, Mapping):
        return {without(name, known): without(each, known) for name, each in value.items()}
    return [without(each, known) for each in value] if isinstance(value, list | tuple) else value


class Veil:
    """Hides known keys in a stream of bytes, wherever it is cut. Holds back only what may be the beginning of one."""

    def __init__(self, known: Collection[str]) -> None:
        self._known = [key.encode("utf-8", "surrogateescape") for key in known]
        self._begun = b""

    def pass_(self, data: bytes) -> bytes:
        """What may be shown, now that `data` has come."""
        text = self._begun + data
        for key in self._known:
            text = text.replace(key, HIDDEN.encode())
        held = max((_overlap(text, key) for key in self._known), default=0)
        self._begun = text[len(text) - held :]
        return text[: len(text) - held]

    def rest(self) -> bytes:
        """What was held back, now that nothing more comes."""
        rest, self._begun = self._begun, b""
        return rest


def _overlap(text: bytes, key: bytes) -> int:
    """How many bytes at the end of the text are the beginning of the key."""
    return next((size for size in range(min(len(key) - 1, len(text)), 0, -1) if text.endswith(key[:size])), 0)
