"""Waits that are said as a time of day: "resets 3pm (America/New_York)", "again at 14:05 UTC", "resets Oct 9, 5pm".

With a zone the time is sure: the next one, or that of the day that stands with it. Where clocks are set back and it
comes twice, or are set forward and it never comes, the later reading counts: nobody is to come too early.

Without a zone nobody knows whose time it is. Then a day that has begun nowhere yet is waited for, and of a time only
the minute is believed, which most zones share: the wait ends when the next hour comes to that minute. Whoever is too
early then is told the same again; so he asks once an hour, and is not late where the zone is one of whole hours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Final

# The one look at files in policies: the time zone database, which is data that only grows.
from zoneinfo import ZoneInfo

#: Seconds for which a time that has just passed still is today's: clocks differ. It is asked about so much later.
PASSED_S: Final = 600.0
SOON_S: Final = 60.0
#: The zones that are furthest ahead and behind, in seconds from UTC.
_AHEAD_S, _BEHIND_S = 14 * 3600.0, 12 * 3600.0

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH: Final = rf"(?:{'|'.join(_MONTHS)})[a-z]{{0,6}}\.?"
_DAY: Final = r"\d{1,2}(?:st|nd|rd|th)?"
_YEAR: Final = r"(?:,?\s+\d{4})?"
#: US zones by the letters that US providers use; others mean several places ("IST", "CST").
_LETTERS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("PT", "PST", "PDT"), "America/Los_Angeles"),
    **dict.fromkeys(("ET", "EST", "EDT"), "America/New_York"),
}
_ZONE: Final = (
    r"(?:UTC|GMT)(?:\s?[+-]\d{1,2}(?::?\d\d)?)?|Z|[+-]\d\d:?\d\d|[A-Z][A-Z_]{1,20}(?:/[A-Z0-9_+-]{1,30}){1,2}"
    rf"|(?-i:{'|'.join(_LETTERS)})"
)
_SAID: Final = re.compile(
    r"\b(?:resets?|again|until|available)\s+(?:at\s+|on\s+)?"
    rf"(?:(?P<date>\d{{4}}-\d\d-\d\d|{_MONTH}\s+{_DAY}{_YEAR}|{_DAY}\s+{_MONTH}{_YEAR}),?\s+(?:at\s+)?)?"
    r"(?:(?P<word>midnight|noon)"
    r"|(?P<hour>\d{1,2})(?::(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?)?(?:\s?(?P<half>[ap])(?:m|\.m\.))?)"
    rf"(?:,?\s*\(?(?P<zone>{_ZONE})\)?)?(?![\w:/+-]|[.,]\d)",
    re.IGNORECASE,
)
_OFFSET: Final = re.compile(r"(?:UTC|GMT)?\s?([+-])(\d{1,2}):?(\d\d)?", re.IGNORECASE)


def of_text(text: str, now: float) -> Iterator[float]:
    """Seconds from `now` (since 1970) until each time of day that the text names as the end of a wait."""
    for found in _SAID.finditer(text):
        at = _time(found)
        if at is None:
            continue
        try:
            zone = _zone(found["zone"] or "")
            yield _unsure(found["date"], at, now) if zone is None else _sure(found["date"], at, zone, now)
        except (ValueError, OverflowError):
            # The thirtieth of February, or a year that no clock knows.
            continue


def _time(found: re.Match[str]) -> time | None:
    """The time of day; None for a number that is none."""
    if found["word"]:
        return time(0 if found["word"].lower() == "midnight" else 12)
    hour, half = int(found["hour"]), found["half"]
    minute, second = int(found["minute"] or 0), int(found["second"] or 0)
    if half is None:
        return time(hour, minute, second) if found["minute"] is not None and hour < 24 else None
    return time(hour % 12 + (12 if half.lower() == "p" else 0), minute, second) if 1 <= hour <= 12 else None


def _zone(said: str) -> tzinfo | None:
    """The zone of that name; None for no name, and for one that nobody knows here."""
    if said.upper() in ("UTC", "GMT", "Z"):
        return UTC
    offset = _OFFSET.fullmatch(said)
    if offset:
        length = timedelta(hours=int(offset[2]), minutes=int(offset[3] or 0))
        return timezone(-length if offset[1] == "-" else length)
    try:
        return ZoneInfo(_LETTERS.get(said, said)) if said else None
    except (KeyError, ValueError, OSError):
        return None


def _sure(day: str | None, at: time, zone: tzinfo, now: float) -> float:
    if day is not None:
        return max(0.0, _nearest(day, at, zone, now) - now)
    today = datetime.fromtimestamp(now, zone).date()
    moments = (_moment(today + timedelta(days=days), at, zone) for days in (-1, 0, 1, 2))
    wait_s = next(moment - now for moment in moments if moment > now - PASSED_S)
    return wait_s if wait_s > 0 else SOON_S


def _unsure(day: str | None, at: time, now: float) -> float:
    if day is not None:
        moment = _nearest(day, at, UTC, now)
        if moment - _AHEAD_S > now:
            return moment - _AHEAD_S - now
        if moment + _BEHIND_S <= now:
            return 0.0
    return (60.0 * at.minute + at.second - now) % 3600.0 or 3600.0


def _nearest(day: str, at: time, zone: tzinfo, now: float) -> float:
    """The moment on that day; without a year that which is nearest."""
    words = re.findall(r"[a-z]{3}|\d+", day.lower())
    if day[:4].isdigit():
        return _moment(date.fromisoformat(day), at, zone)
    month = next(number for number, name in enumerate(_MONTHS, 1) if name in words)
    numbers = [int(word) for word in words if word.isdigit()]
    years = numbers[1:] or [datetime.fromtimestamp(now, zone).year + later for later in (-1, 0, 1)]
    moments = []
    for year in years:
        try:
            moments.append(_moment(date(year, month, numbers[0]), at, zone))
        except ValueError:
            # The twenty-ninth of February is not there every year.
            continue
    return min(moments, key=lambda moment: abs(moment - now))


def _moment(day: date, at: time, zone: tzinfo) -> float:
    """Seconds since 1970; of two readings, where clocks are set back or forward, the later one."""
    readings = (datetime.combine(day, at.replace(fold=fold), zone) for fold in (0, 1))
    return max(one.timestamp() for one in readings)
