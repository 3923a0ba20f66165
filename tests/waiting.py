"""Waiting for a condition in tests: with a deadline, never for a fixed time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Seen = TypeVar("Seen")


def until(seen: Callable[[], Seen], within_s: float = 10.0, what: str = "the condition") -> Seen:
    """The first true value `seen` gives; fails the test when none comes within `within_s` seconds."""
    end = time.monotonic() + within_s
    while not (value := seen()):
        assert time.monotonic() < end, f"{what} did not come within {within_s} s"
        time.sleep(0.005)
    return value
