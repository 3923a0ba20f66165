"""What `proofq audit --repair` does about each rule that is broken. Pure.

Repaired is what is only shown or listed of a task, since the task's own row says what that should be, and what only
needs somebody to look. What a task itself says, and its breadcrumbs, are evidence: nothing here writes those anew,
and where they contradict each other nothing is written by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

Act = Literal["mend", "unlist", "restore"]

#: Rule -> what is done, and that in words. Rules that are not here are for a human.
REPAIRS: Final[Mapping[str, tuple[Act, str]]] = {
    "stale_field": ("mend", "the field is dropped, as the step that entered the state would have"),
    "lists": ("mend", "the lists are written by the task's own times"),
    "counted_as": ("mend", "it is counted under its state"),
    "ended_as": ("mend", "it is listed among the ends of its state"),
    "lease_agrees": (
        "mend",
        "its owner is given the lease; one that knows nothing of it or is silent loses it",
    ),
    "rq_job": ("mend", "RQ's hash is written by its state, anew where it is gone"),
    "rq_place": ("mend", "it is put where its state belongs; at the end of its queue if it was not in it"),
    "rq_result": ("mend", "RQ's result is written by its end"),
    "after_lost": ("mend", "who goes before it is told that it waits; it expires where that task is gone"),
    "orphan_rows": (
        "unlist",
        "an id that is no task's leaves the list or registry; its breadcrumbs and attempts stay",
    ),
    "wrong_queue": ("unlist", "it leaves the queue or registry that is not its own"),
    "lease_stale": ("unlist", "the lease that the task does not name is dropped"),
    "stray": ("restore", "it goes back into its queue if its rows are whole"),
}


def act(rule: str) -> Act | None:
    """What is done about a rule; None for one that a human must look at."""
    found = REPAIRS.get(rule)
    return found[0] if found else None
