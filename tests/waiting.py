"""Waiting for a condition in tests: with a deadline, never for a fixed time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Seen = TypeVar("Seen")
#: Seconds between two looks, at least and at most.
LEAST_S, MOST_S = 0.005, 0.1


def until(seen: Callable[[], Seen], within_s: float = 10.0, what: str = "the condition") -> Seen:
    """The first true value `seen` gives; fails the test when none comes within `within_s` seconds."""
    end = time.monotonic() + within_s
    begun = time.monotonic()
    while not (value := seen()):
        assert time.monotonic() < end, f"{what} did not come within {within_s} s"
        rest(begun)
        begun = time.monotonic()
    return value


def rest(begun: float) -> None:
    """Sleep after a look that began then: who looks leaves most of the core to what is looked for."""
    time.sleep(min(max(LEAST_S, 4 * (time.monotonic() - begun)), MOST_S))
