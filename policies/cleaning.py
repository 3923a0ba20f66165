"""Which folders of tasks may go from a worker's host: those of tasks that have ended, the oldest first. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from proofq.policies.lifecycle import TERMINAL

#: Once over the quota, so much of it is aimed at, so that not each new folder costs an old one.
AIM: Final = 0.9


@dataclass(frozen=True)
class Folder:
    """One task's folder. `state`: '' for a task that Redis does not know (any more); `ended_ms`: when it ended, or for
    an unknown one when its folder was last changed. `bytes`: the room it takes, None where nobody has looked."""

    name: str
    state: str
    ended_ms: float
    bytes: int | None = None

    @property
    def removable(self) -> bool:
        """Whether nothing of it can run or be judged any more. An unknown one may belong to another Redis: it is
        removed for its age alone, never for room."""
        return self.state in TERMINAL


def too_old(folders: Iterable[Folder], now_ms: float, keep_s: float) -> list[str]:
    """Those that ended longer ago than `keep_s`."""
    limit = now_ms - keep_s * 1000
    return [one.name for one in folders if (one.removable or not one.state) and one.ended_ms < limit]


def to_make_room(folders: Iterable[Folder], used: int, quota: int) -> list[str]:
    """The oldest whose removal brings `used` down to what is aimed at; none while it is within the quota."""
    if used <= quota:
        return []
    chosen: list[str] = []
    for one in sorted((one for one in folders if one.removable), key=lambda one: one.ended_ms):
        if used <= quota * AIM:
            break
        chosen.append(one.name)
        used -= one.bytes or 0
    return chosen


def full(used: int, quota: int) -> str:
    """Why nothing may be leased, in words; '' while there is room. `used` is what is left after cleaning."""
    if not quota or used <= quota:
        return ""
    mib = 1024 * 1024
    return (
        f"its tasks' folders take {used / mib:.0f} MiB, more than disk_quota_mib ({quota // mib}), "
        "and those of ended tasks are removed already"
    )
