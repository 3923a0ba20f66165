"""Waits that are said as a time of day: with a zone sure, without one bounded, and nothing where no time is said."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofq.policies import adapters, day_times, waits
from proofq.policies.ended import Ending
from proofq.policies.failure import Failure

#: Fri, 21 Nov 2025 10:20:00 GMT; 05:20 in New York, 19:20 in Tokyo.
NOW = datetime.fromisoformat("2025-11-21T10:20:00Z").timestamp()
HOUR = 3600.0


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        # As claude, codex and Google print them.
        ("You've hit your session limit · resets 3pm (America/New_York)", 9 + 40 / 60),
        ("You've hit your session limit · resets 8:30pm (Asia/Tokyo)", 1 + 10 / 60),
        ("resets 1:30am (Asia/Dhaka)", 9 + 10 / 60),
        ("Claude usage limit reached. Your limit will reset at 1pm (Etc/GMT+5).", 7 + 40 / 60),
        ("Weekly limit reached · resets 10am (Asia/Seoul) · /upgrade to Max", 14 + 40 / 60),
        ("Weekly limit reached ∙ resets Nov 23, 5pm (Europe/Berlin)", 24 + 24 + 5 + 40 / 60),
        ("resets Nov 23 at 5pm (UTC)", 48 + 6 + 40 / 60),
        ("Try again at 14:05 UTC.", 3 + 45 / 60),
        ("try again at 14:05:30Z", 3 + 45.5 / 60),
        ("try again at 14:05 +02:00", 1 + 45 / 60),
        ("try again at 2:05 p.m. UTC-5", 8 + 45 / 60),
        ("available at 12:00 pm GMT", 1 + 40 / 60),
        ("resets 12am UTC", 13 + 40 / 60),
        ("quota resets at midnight PT", 21 + 40 / 60),
        ("resets at noon EST", 6 + 40 / 60),
        ("try again at 2025-11-22 09:20 UTC", 23),
        ("try again at Nov 22nd, 2025 9:20 AM UTC", 23),
        ("try again at 22 Nov 2025, 9:20 AM UTC", 23),
        # Over: a day that is past; a year that is not said is the nearest.
        ("try again at Nov 20th, 2025 9:20 AM UTC", 0),
        ("resets Nov 20, 9:20am UTC", 0),
        ("resets Jan 2, 10:20am UTC", 42 * 24),
        # Just over by the clock of whoever said it: a minute, not a day.
        ("resets 10:15am UTC", 1 / 60),
        ("resets 10:20am UTC", 1 / 60),
        ("resets 10:05am UTC", 23 + 45 / 60),
        # Without a zone: the minute, on the hour that comes; a day that has begun nowhere yet.
        ("5-hour limit reached ∙ resets 3pm", 40 / 60),
        ("Session limit reached ∙ resets 9:30pm", 10 / 60),
        ("Limits will reset at 9:20 AM.", 1),
        ("or try again at 8:19 PM.", 59 / 60),
        ("resets 3pm (IST)", 40 / 60),
        ("resets 3pm (Mars/Olympus)", 40 / 60),
        ("or try again at Nov 26th, 2025 8:19 PM.", 4 * 24 + 19 + 59 / 60),
        ("resets Nov 21, 5pm", 40 / 60),
        ("try again at Nov 18th, 2025 8:19 PM.", 0),
    ],
)
def test_a_time_of_day(text: str, hours: float) -> None:
    """In every form that was seen."""
    assert waits.of_text(text, NOW) == pytest.approx(hours * HOUR)
    assert waits.of_text(text, None) is None


@pytest.mark.parametrize(
    "text",
    [
        "try again at 3", "try again at 25:00 UTC", "resets 13pm", "resets 0am", "again at 10:75", "resets 3pmish",
        "again at 127.0.0.1:8080", "again at 10.0.0.1:8080", "again at 10:8080", "until 14:05:99", "resets 3 times",
        "resets at 12", "again at 3.5", "resets in 3 pm", "the meeting at 3pm", "at 14:05 UTC", "available 24/7",
        "resets Feb 30, 5pm UTC", "resets Nov 99, 5pm UTC", "try again at 2025-13-01 10:00 UTC", "until 2025",
        "again at 14:05/15:05", "resets Monday", "resets tomorrow at 3pm", "preset 3pm", "try again at /etc/passwd",
        "resets 3pm+5", "until 10:30-", "again 12:30:15:10", "resets noonish", "reset at 99999999-01-01 10:00",
    ],
)  # fmt: skip
def test_no_time_of_day(text: str) -> None:
    """Numbers, addresses, dates that are none, and times that end no wait."""
    assert list(day_times.of_text(text, NOW)) == []


@pytest.mark.parametrize(
    ("now", "text", "then"),
    [
        # New York, 8 March 2026: 02:00 to 03:00 is left out.
        ("2026-03-08T06:30:00+00:00", "resets 3am (America/New_York)", "2026-03-08T07:00:00+00:00"),
        ("2026-03-08T06:30:00+00:00", "resets 2:30am (America/New_York)", "2026-03-08T07:30:00+00:00"),
        ("2026-03-07T20:00:00+00:00", "resets 9am (America/New_York)", "2026-03-08T13:00:00+00:00"),
        # New York, 1 November 2026: 01:00 to 02:00 comes twice.
        ("2026-11-01T04:10:00+00:00", "resets 1:30am (America/New_York)", "2026-11-01T06:30:00+00:00"),
        ("2026-11-01T05:45:00+00:00", "resets 1:30am (America/New_York)", "2026-11-01T06:30:00+00:00"),
        ("2026-11-01T06:45:00+00:00", "resets 1:30am (America/New_York)", "2026-11-02T06:30:00+00:00"),
        ("2026-10-31T20:00:00+00:00", "resets 9am (America/New_York)", "2026-11-01T14:00:00+00:00"),
        # A day that is not there every year.
        ("2028-02-27T12:00:00+00:00", "resets Feb 29, 5pm UTC", "2028-02-29T17:00:00+00:00"),
        # A day without a zone: it is over where it ends last, twelve hours behind; before that the minute counts.
        ("2026-10-10T04:50:00+00:00", "resets Oct 9, 5pm", "2026-10-10T05:00:00+00:00"),
        ("2026-10-10T05:10:00+00:00", "resets Oct 9, 5pm", "2026-10-10T05:10:00+00:00"),
        # Half an hour, three quarters, a day ahead; a year's end.
        ("2026-01-01T00:00:00+00:00", "resets 6am (Asia/Kolkata)", "2026-01-01T00:30:00+00:00"),
        ("2026-01-01T00:00:00+00:00", "resets 6am (Asia/Kathmandu)", "2026-01-01T00:15:00+00:00"),
        ("2026-01-01T00:00:00+00:00", "resets 1pm (Pacific/Kiritimati)", "2026-01-01T23:00:00+00:00"),
        ("2025-12-31T23:59:00+00:00", "resets Jan 1, 12:30am UTC", "2026-01-01T00:30:00+00:00"),
        ("2026-01-01T00:10:00+00:00", "resets Dec 31, 11pm UTC", "2026-01-01T00:10:00+00:00"),
        ("2026-06-01T00:00:00+00:00", "resets Feb 29, 5pm UTC", None),
    ],
)
def test_where_clocks_are_set(now: str, text: str, then: str | None) -> None:
    """The later of two readings, on the days of the change and beside them."""
    now_s = datetime.fromisoformat(now).timestamp()
    found = waits.of_text(text, now_s)
    assert found == (None if then is None else datetime.fromisoformat(then).timestamp() - now_s)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Claude AI usage limit reached|1763720460", 60),
        ("Claude AI usage limit reached|1763720460000", 60),
        ('"rate_limit_info":{"status":"rejected","resetsAt":1763720460}', 60),
        ('"resets_at": 1763720460,', 60),
        ("resets at 1763720460", 60),
        ("usage limit reached|17637204", None),
        ("usage limit reached|176372046012345", None),
        ("resets at 1763720460.5", None),
        ("id|1763720460abc", None),
    ],
)
def test_moments_in_seconds(text: str, seconds: float | None) -> None:
    """Since 1970, as claude and ChatGPT say them."""
    assert waits.of_text(text, NOW) == seconds


@given(st.text(alphabet="resets again until at 0123456789:apm. ()UTC/America_New_York,+-Feb NovZ|", max_size=60))
def test_any_text_is_read_or_left(text: str) -> None:
    """A wait that is one, and no error."""
    for text_ in (text, f"resets {text}"):
        assert all(0 <= found < 400 * 86400 for found in day_times.of_text(text_, NOW))


LIMIT = "You've hit your usage limit · resets 3pm (America/New_York)"


@pytest.mark.parametrize(
    ("adapter", "ending"),
    [
        ("claude", Ending(1, None, stdout_end=json.dumps({
            "type": "result", "subtype": "success", "is_error": True, "num_turns": 1, "result": LIMIT,
        }).encode(), at=NOW)),
        ("codex", Ending(1, None, stdout_end=json.dumps(
            {"type": "turn.failed", "error": {"message": LIMIT}}, separators=(",", ":")
        ).encode(), at=NOW)),
        ("generic", Ending(1, None, output_tail=f"Error: {LIMIT}", at=NOW)),
    ],
)  # fmt: skip
def test_the_adapters_know_the_time(adapter: str, ending: Ending) -> None:
    """A plan's window that a program names by its time is waited for, instead of held."""
    failure = adapters.of(adapter).outcome(ending, False)
    assert isinstance(failure, Failure)
    assert failure.kind == "quota"
    assert failure.retry_after_s == pytest.approx((9 + 40 / 60) * HOUR)
