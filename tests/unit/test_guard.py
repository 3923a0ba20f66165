"""The watchdog of the pulse, and the marker."""

from __future__ import annotations

from proofq.workers.guard import PULSES_MISSED, OwnerMarker, Watchdog
from proofq.workers.proctree import ProcessId


def test_silence_is_counted_in_own_ticks():
    """Only as many ticks as may be missed, and one more, without a word are too many."""
    watchdog = Watchdog()
    assert [watchdog.tick() for _ in range(PULSES_MISSED)] == [False] * PULSES_MISSED
    watchdog.heard()
    assert [watchdog.tick() for _ in range(PULSES_MISSED + 1)] == [False] * PULSES_MISSED + [True]


def test_the_marker_names_owner_and_supervisor():
    """A sweep looks for the owner's id up to the first colon."""
    marker = OwnerMarker("abc", ProcessId(7, 99, "boot", "pid:[1]"))
    assert marker.text == "abc:boot:7:99"
