"""How long a retry waits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proofq.policies import backoff

JITTER = st.floats(0, 1, exclude_max=True)


@given(st.integers(-5, 10_000), JITTER)
def test_delay_is_within_its_bounds(tries: int, jitter: float) -> None:
    """Never less than half the first delay, never more than the cap, however many tries."""
    assert backoff.BASE_S / 2 <= backoff.delay_s(tries, jitter) <= backoff.CAP_S


@given(st.integers(1, 100), JITTER, st.floats(0.01, 10), st.floats(10, 1000))
def test_delay_grows_with_the_tries(tries: int, jitter: float, base_s: float, cap_s: float) -> None:
    """With equal chance a later retry waits at least as long."""
    assert backoff.delay_s(tries, jitter, base_s, cap_s) <= backoff.delay_s(tries + 1, jitter, base_s, cap_s)


def test_doubles_up_to_the_cap() -> None:
    """1, 2, 4 ... 32, 60, 60 seconds without jitter; half a second less than one with the most of it."""
    assert [backoff.delay_s(tries, 0.0) for tries in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert backoff.delay_s(1, 0.5) == 0.75
