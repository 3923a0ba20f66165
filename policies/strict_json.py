"""Strict reading of JSON that an agent produced: one UTF-8 document, bounded, and a reason where it is not.

What counts as strict is `policies.schema.read_json`, so that inputs, schemas, claims and proven files are
read alike; here are the bounds, and the words that help an agent to repair its output.
"""

from __future__ import annotations

import json

from proofq.policies.agent import JSON
from proofq.policies.schema import JsonProblem, read_json

#: Longest document that is read, in bytes. Python needs about ten times as much memory for it.
MAX_BYTES = 16 * 1024 * 1024

_WHITE_SPACE = b" \t\r\n"


class NotStrict(ValueError):
    """Not exactly one strict JSON document. `reason` says what is wrong and where."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse(data: bytes, max_bytes: int = MAX_BYTES) -> JSON:
    """Read exactly one strict UTF-8 JSON document, white space around it allowed.

    Raises NotStrict for all else: nothing at all, a byte order mark, a code fence, a second document or other
    text, duplicate keys, NaN and Infinity, numbers Python cannot hold, half surrogate pairs, too deep, too
    long.
    """
    if len(data) > max_bytes:
        raise NotStrict(f"longer than {max_bytes} bytes")
    text = data.strip(_WHITE_SPACE)
    if not text:
        raise NotStrict("empty, not a JSON document")
    if text.startswith(b"\xef\xbb\xbf"):
        raise NotStrict("starts with a byte order mark, which JSON does not allow")
    if text.startswith(b"```"):
        raise NotStrict("starts with a code fence; only the JSON document itself may stand there")
    try:
        return read_json(data)
    except JsonProblem as error:
        raise NotStrict(str(error)) from error


def check_value(value: JSON) -> JSON:
    """Give the value as it reads back from strict JSON. Raises NotStrict where it cannot be written as such.

    For what a function returned: NaN, half surrogate pairs and what is no JSON are refused as they are in
    text.
    """
    try:
        data = json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise NotStrict(f"not a JSON value: {str(error)[:200]}") from error
    return parse(data)
