"""How long somebody asked to wait: every place where it is said, and nothing where nobody said it."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proofq.policies import waits

#: Fri, 21 Nov 2025 10:00:00 GMT.
NOW = 1_763_719_200.0
DATE = "Fri, 21 Nov 2025 10:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "120"}, 120),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "2", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "Fri, 21 Nov 2025 10:01:30 GMT"}, 90),
        ({"retry-after": "Fri, 21 Nov 2025 09:59:00 GMT"}, 0),
        # Its own clock counts, not ours: this answer came from a host that is an hour behind.
        ({"retry-after": "Fri, 21 Nov 2025 09:00:30 GMT", "date": "Fri, 21 Nov 2025 09:00:00 GMT"}, 30),
        ({"retry-after": "30", "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, 30),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, 360),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1h2m59.56s"}, 3779.56),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "20ms"}, 0.02),
        # The bucket that is empty counts, and of several the one that fills last.
        ({"x-ratelimit-remaining-requests": "7", "x-ratelimit-reset-requests": "6m0s"}, None),
        (
            {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}
            | {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "9s"},
            9,
        ),
        ({"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "2025-11-21T10:00:42Z"}, 42),
        (
            {"anthropic-ratelimit-tokens-remaining": "5", "anthropic-ratelimit-tokens-reset": "2025-11-21T10:00:42Z"},
            None,
        ),
        ({"anthropic-ratelimit-unified-status": "rejected", "anthropic-ratelimit-unified-reset": "1763722800"}, 3600),
        ({"anthropic-ratelimit-unified-status": "allowed", "anthropic-ratelimit-unified-reset": "1763722800"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1763719260000"}, 60),
        ({"ratelimit": '"api";r=0;t=55'}, 55),
        ({"ratelimit": '"api";r=3;t=55'}, None),
        ({"ratelimit": '"a";r=0;t=5, "b";r=0;t=8'}, 8),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "9" * 30}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_headers(headers: dict[str, str], seconds: float | None) -> None:
    """Each header, alone and beside others, in order of rank."""
    assert waits.of_headers(headers, NOW) == (None if seconds is None else pytest.approx(seconds))


def test_a_time_of_day_needs_to_know_the_time() -> None:
    """Without a Date header and without `now` an HTTP date says nothing; with either it does."""
    headers = {"retry-after": "Fri, 21 Nov 2025 10:01:00 GMT"}
    assert waits.of_headers(headers, None) is None
    assert waits.of_headers({**headers, "date": DATE}, None) == 60
    assert waits.of_headers({**headers, "date": DATE}, NOW + 1e6) == 60
    assert waits.of_headers(headers, NOW) == 60


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({"error": {"details": [{"@type": "google.rpc.RetryInfo", "retryDelay": "34.07s"}]}}, 34.07),
        ({"error": {"type": "usage_limit_reached", "resets_in_seconds": 7200}}, 7200),
        ({"error": {"resets_at": 1_763_719_230}}, 30),
        (
            {"error": {"metadata": {"headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1763719260000"}}}},
            60,
        ),
        ({"retry_after": 5}, 5),
        ({"retry_after": True}, None),
        ({"error": {"message": "slow down"}}, None),
        ([], None),
        (None, None),
    ],
)  # fmt: skip
def test_bodies(body: object, seconds: float | None) -> None:
    """What Google, ChatGPT and OpenRouter write into the body."""
    assert waits.of_body(body, NOW) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Rate limit reached. Please try again in 7.66s. Visit", 7.66),
        ("Please try again in 20ms.", 0.02),
        ("Your quota will reset after 4h28m20s.", 16100),
        ("You've hit your usage limit. Try again in 2 days 17 hours 14 minutes.", 234840),
        ("try again in 5 days, 3 hours and 1 minute", 442860),
        ("Please retry after 6 seconds.", 6),
        ("Please retry in 34.07s.", 34.07),
        ("429 Too Many Requests, Retry-After: 120", 120),
        (f"HTTP/1.1 429 Too Many Requests\r\nretry-after: {formatdate(NOW + 90, usegmt=True)}\r\n", 90),
        (f'"retry-after": "{formatdate(NOW - 90, usegmt=True)}"', 0),
        ("Retry-After: Sat, 99 Nov 2026 09:40:00 GMT", None),
        ('"resets_in_seconds": 90,', 90),
        ('"retryDelay": "34s"', 34),
        ("Claude AI usage limit reached|1763719260", 60),
        ("Please wait 30 seconds before trying again", 30),
        # A client's own pauses, and numbers that are no time.
        ("Retrying in 5s (attempt 3/10)", None),
        ("will retry in 5 s", None),
        ("try again in 5", None),
        ("timed out after 30 seconds", None),
        ("try again later", None),
        ("", None),
    ],
)
def test_prose(text: str, seconds: float | None) -> None:
    """Sentences that name a wait, and sentences that only look like it."""
    assert waits.of_text(text, NOW) == (None if seconds is None else pytest.approx(seconds))


def test_attributes() -> None:
    """pydantic-ai's `.retry_after` and litellm's `.cooldown_time`: a number, or one as text."""
    assert [waits.of_value(one) for one in (3, 2.5, "7", "1m", -1, True, None, float("nan"), float("inf"), "x")] == [
        3, 2.5, 7, 60, None, None, None, None, None, None,
    ]  # fmt: skip


@given(
    st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms", "date", "ratelimit", "x-ratelimit-reset"]), st.text()
    )
)
@example({"retry-after-ms": "0\x1f"})
def test_any_header_is_read_or_left(headers: dict[str, str]) -> None:
    """Whatever stands there gives a wait that a failure can carry, or none."""
    found = waits.of_headers(headers, NOW)
    assert found is None or 0 <= found < 1e12


@given(
    st.text(),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.dictionaries(st.sampled_from(["error", "retryDelay", "resets_at", "headers", "retry_after"]), inner)
            | st.lists(inner)
        ),
        max_leaves=8,
    ),
)
def test_any_text_and_body_is_read_or_left(text: str, body: object) -> None:
    """So with prose and bodies."""
    for found in (waits.of_text(text, NOW), waits.of_body(body, NOW)):
        assert found is None or 0 <= found < 1e12
