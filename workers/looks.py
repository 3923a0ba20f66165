"""What a beat and a reaper's look at Redis bring home."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Beat:
    """The server's time, every lease the owner holds (task id -> (fence, whether its cancel was asked)), and whether
    somebody wants it to drain."""

    now: int
    held: dict[str, tuple[str, bool]]
    drain: bool = False


@dataclass(frozen=True)
class Watch:
    """What wants attention: owners past their deadline (0 = known dead), owners on this host, ids of tasks, and
    of incidents."""

    now: int
    overdue: dict[str, int]
    neighbours: list[str]
    due: list[str]
    aged: list[str]
    strays: list[str]
    followed: list[str]
    #: Incidents of which somebody is to be told.
    alerts: list[str]
