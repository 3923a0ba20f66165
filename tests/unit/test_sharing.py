"""Whose doing the end of a shared process was, and what that means for each attempt in it."""

from __future__ import annotations

import pytest

from proofq.policies import sharing
from proofq.policies.live import LIVE
from proofq.policies.sharing import REPLACED, SHARED_DEATH, Fate, HostEnd

DIED, BLOCKED = HostEnd("died"), HostEnd("blocked", 7, "for 10 s in f (a.py:3)")
NOBODY = HostEnd("blocked", 0, "for 10 s")
OUTLIVED, GUARD = HostEnd("outlived", 7), HostEnd("ours", detail="guard")


@pytest.mark.parametrize(
    ("end", "number", "stopped", "alone", "killed_by"),
    [
        (DIED, 7, "", True, ""),
        (DIED, 7, "", False, SHARED_DEATH),
        (DIED, 7, "cancel", False, "cancel"),
        (BLOCKED, 7, "", False, LIVE),
        (BLOCKED, 7, "", True, LIVE),
        (BLOCKED, 7, "timeout", False, "timeout"),
        (BLOCKED, 8, "", False, REPLACED),
        (BLOCKED, 8, "drain", False, "drain"),
        (NOBODY, 7, "", False, SHARED_DEATH),
        (NOBODY, 7, "", True, LIVE),
        (OUTLIVED, 7, "timeout", False, "timeout"),
        (OUTLIVED, 7, "", False, ""),
        (OUTLIVED, 8, "", False, REPLACED),
        (OUTLIVED, 8, "cancel", False, "cancel"),
        (GUARD, 7, "", True, "guard"),
        (GUARD, 8, "cancel", False, "guard"),
    ],
)
def test_fates(end: HostEnd, number: int, stopped: str, alone: bool, killed_by: str) -> None:
    """Its own stop stands, the culprit answers, the others are given back, and nobody knows of a death in company."""
    assert sharing.fate(end, number, stopped, alone).killed_by == killed_by


def test_who_blocked_is_stalled_and_told_where() -> None:
    """The class, and the place in the reason."""
    fate = sharing.fate(BLOCKED, 7, "", alone=False)
    assert fate.failure is not None
    assert (fate.failure.kind, fate.failure.phase) == ("stalled", "run")
    assert fate.failure.reason == "blocked the event loop it shares for 10 s in f (a.py:3)"
    assert sharing.fate(BLOCKED, 8, "", alone=False) == Fate(REPLACED)


def test_the_place_is_read_from_a_stack() -> None:
    """As faulthandler writes it; three frames, innermost first; nothing of what is no frame."""
    stack = (
        "Current thread 0x00007f (most recent call first):\n"
        '  File "/usr/lib/python3.11/re/__init__.py", line 166 in match\n'
        '  File "/home/u/in it/agents.py", line 12 in work\n'
        '  File "/x/y.py", line 1 in a\n'
        '  File "/x/y.py", line 2 in b\n'
    )
    assert sharing.place(stack) == " in match (__init__.py:166), called by work (agents.py:12), called by a (y.py:1)"
    assert sharing.place("") == ""
    assert sharing.place("Extension modules: a (total: 1)\nin in in") == ""
