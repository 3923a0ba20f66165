"""Who answers for the end of a process that several attempts shared.

Pure. What an attempt was stopped for stays its own end; whoever made the process be replaced answers for that; the
others are given back, and nothing counts against them. Where nobody knows whose doing it was, all are charged with a
death, as for a worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from proofq.policies.failure import Failure
from proofq.policies.live import LIVE

#: `killed_by` of an attempt whose process was replaced for what another one did.
REPLACED: Final = "replaced"
#: `killed_by` of an attempt whose process died, perhaps of another one's doing.
SHARED_DEATH: Final = "shared_death"

#: Why a shared process ended: it died by itself; its loop was blocked; a task outlived its cancel; `ours`: it was
#: killed for a reason that is everybody's, which `detail` names.
Why = Literal["died", "blocked", "outlived", "ours"]


@dataclass(frozen=True)
class HostEnd:
    """Why a shared process ended, and the number of the attempt that made it so, 0 where nobody knows."""

    why: Why
    culprit: int = 0
    #: Of `blocked`: where and for how long. Of `ours`: the reason.
    detail: str = ""


@dataclass(frozen=True)
class Fate:
    """What one attempt's end says: `killed_by` as in `Ending`; "" means that the process's own end is its end, too.
    `failure` is set with LIVE."""

    killed_by: str
    failure: Failure | None = None


def fate(end: HostEnd, number: int, stopped: str, alone: bool) -> Fate:
    """The end of attempt `number`. `stopped`: what it was asked to stop for before, "" for nothing. `alone`: no other
    attempt was in the process."""
    if end.why == "ours":
        return Fate(end.detail)
    if stopped:
        return Fate(stopped)
    if end.culprit == number or (alone and not end.culprit):
        if end.why == "blocked":
            return Fate(LIVE, Failure("stalled", f"blocked the event loop it shares {end.detail}", phase="run"))
        return Fate("")
    return Fate(REPLACED if end.culprit else SHARED_DEATH)


def place(stack: str) -> str:
    """Where a stack as `faulthandler` writes it stands, innermost first, for a reason; "" when it says nothing."""
    found = []
    for line in stack.splitlines():
        head, _, name = line.strip().rpartition(" in ")
        path, _, number = head.removeprefix("File ").rpartition(", line ")
        if path and number.isdigit():
            found.append(f"{name} ({path.strip(chr(34)).rpartition('/')[2]}:{number})")
    return " in " + ", called by ".join(found[:3]) if found else ""
