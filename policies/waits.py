"""How long somebody asked us to wait: from headers, a body or prose, in seconds. Nobody said so: None, never a guess.

A moment needs to know what time it is. An answer's own Date header says so best, since it is of the clock that named
the moment; else `now` (seconds since 1970), and without either a moment says nothing. Times of day are `day_times`'.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from proofq.policies import day_times

#: Longer waits are mistakes; a failure carries less than this.
_LONGEST_S: Final = 1e12
#: From here on a number is seconds since 1970, and from there on milliseconds: nobody waits for thirty years.
_EPOCH_S, _EPOCH_MS = 1e9, 1e11

_UNIT: Final = r"milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d"
_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART: Final = re.compile(rf"(\d+(?:\.\d+)?)\s*({_UNIT})(?![a-z])", re.IGNORECASE)
#: "6m0s", "20ms", "2 days, 17 hours and 14 minutes".
_LENGTH: Final = rf"(?:\d+(?:\.\d+)?\s*(?:{_UNIT})(?![a-z])[\s,]*(?:and\s+)?)+"
_WHOLE: Final = re.compile(_LENGTH, re.IGNORECASE)
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")
#: "will retry in 5s" and "retrying in 5s" are a client's own pauses; nobody asked for them.
_PROSE: Final = re.compile(
    r"\b(?:try(?:ing)? again|(?<!will )retry|resets?|available again|wait)\s+"
    rf"(?:(?:in|after|for)\s+)?(?:about )?({_LENGTH})",
    re.IGNORECASE,
)
_NAMED: Final = re.compile(
    r"(?:retry[-_ ]after(?:_s|_seconds)?|resets?_in_seconds)[\"']?\s*[:=]\s*[\"']?(\d+(?:\.\d+)?)(?![\d.]*\s*m?s?\w)",
    re.IGNORECASE,
)
_DELAY: Final = re.compile(r"retry_?delay[\"']?\s*[:=]\s*[\"'](\d+(?:\.\d+)?)s[\"']", re.IGNORECASE)
#: As a program prints the header that it was sent.
_HTTP_DATE: Final = re.compile(
    r"\bretry-after[\"']?\s*[:=]\s*[\"']?([a-z]{3},? \d\d? [a-z]{3} \d{4} \d\d:\d\d:\d\d gmt)\b", re.IGNORECASE
)
#: Seconds or milliseconds since 1970. Claude's plan window, "usage limit reached|1753441200" and
#: `"resetsAt":1753441200`, and ChatGPT's `"resets_at"`.
_EPOCH: Final = re.compile(
    r"(?:\||\bresets?_?at[\"']?\s*[:=]\s*[\"']?|\bresets? at )(\d{10}|\d{13})(?![\w.])", re.IGNORECASE
)
_DATE: Final = re.compile(r"\b(?:resets?|again|until)\s+(?:at|on)?\s*(\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d))")

#: A bucket's reset counts where its remaining is 0: (remaining, reset), lower case.
_BUCKETS: Final = tuple(
    [
        (f"{prefix}remaining{which}", f"{prefix}reset{which}")
        for prefix in ("x-ratelimit-", "ratelimit-", "x-rate-limit-")
        for which in ("", "-requests", "-tokens", "-input-tokens", "-output-tokens")
    ]
    + [
        (f"anthropic-ratelimit-{which}-remaining", f"anthropic-ratelimit-{which}-reset")
        for which in ("requests", "tokens", "input-tokens", "output-tokens")
    ]
)
_UNIFIED: Final = ("anthropic-ratelimit-unified-status", "anthropic-ratelimit-unified-reset")
#: Hugging Face, and the draft standard: `"api";r=0;t=55`.
_POLICY: Final = re.compile(r"(?:^|;)\s*([rt])\s*=\s*(\d+)")


def of_headers(headers: Mapping[str, str], now: float | None) -> float | None:
    """What an answer's headers ask for. Names are lower case."""
    now = _epoch_of(headers.get("date", ""), http=True) or now
    for name in ("retry-after-ms", "x-ms-retry-after-ms", "grpc-retry-pushback-ms"):
        if (found := _number(headers.get(name, ""))) is not None:
            return _sane(found / 1000.0)
    if "retry-after" in headers:
        said = _moment(headers["retry-after"], now)
        if said is not None:
            return said
    return _longest(_resets(headers, now))


def of_body(body: object, now: float | None) -> float | None:
    """What a parsed JSON body asks for, however deep it says so."""
    return _longest(_in_body(body, now, 8))


def of_value(value: object) -> float | None:
    """What an attribute such as `.retry_after` asks for: a number of seconds, or one as text."""
    if isinstance(value, str):
        return _moment(value, None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return _sane(float(value))


def of_text(text: str, now: float | None) -> float | None:
    """What prose asks for; the longest, where it says several."""
    said: list[float | None] = [_length(found[1]) for found in _PROSE.finditer(text)]
    said += [_number(found[1]) for found in _NAMED.finditer(text)]
    said += [_number(found[1]) for found in _DELAY.finditer(text)]
    if now is not None:
        said += [_moment(found[1], now) for found in _EPOCH.finditer(text)]
        said += map(_sane, day_times.of_text(text, now))
        said += [_until(_epoch_of(found[1]), now) for found in _DATE.finditer(text)]
        said += [_until(_epoch_of(found[1], http=True), now) for found in _HTTP_DATE.finditer(text)]
    return _longest(said)


def _resets(headers: Mapping[str, str], now: float | None) -> Iterator[float | None]:
    """The resets of all buckets that are empty."""
    for remaining, reset in _BUCKETS:
        if _number(headers.get(remaining, "")) == 0:
            yield _moment(headers.get(reset, ""), now)
    status, reset = _UNIFIED
    if headers.get(status, "rejected").lower() == "rejected":
        yield _moment(headers.get(reset, ""), now)
    for policy in headers.get("ratelimit", "").split(","):
        parts = dict(_POLICY.findall(policy))
        if parts.get("r") == "0":
            yield _number(parts.get("t", ""))


def _in_body(body: object, now: float | None, depth: int) -> Iterator[float | None]:
    if depth and isinstance(body, list):
        for one in body[:100]:
            yield from _in_body(one, now, depth - 1)
    if not depth or not isinstance(body, dict):
        return
    for name, value in list(body.items())[:100]:
        match name:
            case "retryDelay" | "retry_delay" | "retry_after" | "retry_after_seconds" | "resets_in_seconds":
                yield of_value(value)
            case "resets_at" | "resetsAt":
                yield _until(_any_epoch(value), now)
            case "headers" if isinstance(value, dict):
                # OpenRouter hands the headers of whom it asked on inside the body.
                yield of_headers({str(key).lower(): str(one) for key, one in value.items()}, now)
            case _:
                yield from _in_body(value, now, depth - 1)


def _any_epoch(value: Any) -> float | None:
    return _epoch_of(value) if isinstance(value, str) and _number(value) is None else of_value(value)


def _moment(text: str, now: float | None) -> float | None:
    """Seconds from "120", "6m0s", an HTTP date, RFC 3339 or a time since 1970."""
    text = text.strip()
    plain = _number(text)
    if plain is not None:
        if plain >= _EPOCH_MS:
            return _until(plain / 1000.0, now)
        return _until(plain, now) if plain >= _EPOCH_S else _sane(plain)
    return _length(text) if _WHOLE.fullmatch(text) else _until(_epoch_of(text, http=True) or _epoch_of(text), now)


def _length(text: str) -> float | None:
    total = 0.0
    for amount, unit in _PART.findall(text):
        word = unit.lower()
        total += float(amount) * _UNIT_S["ms" if word.startswith(("ms", "milli")) else word[0]]
    return _sane(total)


def _until(moment: float | None, now: float | None) -> float | None:
    """Seconds from now until a moment; 0 once it is past."""
    return None if moment is None or now is None else _sane(max(0.0, moment - now))


def _epoch_of(text: str, http: bool = False) -> float | None:
    """Seconds since 1970 of an HTTP date or an RFC 3339 time; None for anything else, and without an offset."""
    try:
        when = parsedate_to_datetime(text) if http else datetime.fromisoformat(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if when.tzinfo is None:
        # "-0000" is how a mail says UTC; a local time without a place says nothing.
        return when.replace(tzinfo=UTC).timestamp() if http else None
    return when.timestamp()


def _number(text: str) -> float | None:
    # Stripped first: what counts as white space to a text does not all to a float.
    said = text.strip()
    return float(said) if _NUMBER.fullmatch(said) and len(said) < 40 else None


def _sane(seconds: float) -> float | None:
    return seconds if 0 <= seconds < _LONGEST_S else None


def _longest(said: Iterable[float | None]) -> float | None:
    return max((one for one in said if one is not None), default=None)
