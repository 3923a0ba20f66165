"""Tells the followers of ended tasks: those that were enqueued with `after`, and wait.

The step that settles a task releases its first followers itself (tell_followers in common.lua); the rest, and all that
follows from an end without success, is done here by the reapers, a bounded number at a time. The ended task stands
among `keys.FOLLOWING` until all were told, so that a death on the way forgets nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Final

from proofq.policies.failure import Failure
from proofq.policies.lifecycle import DEFERRED
from proofq.workers import rq_view
from proofq.workers.door import Door, Event
from proofq.workers.errors import UnknownTask
from proofq.workers.reading import text
from proofq.workers.record import Task
from proofq.workers.scripts import DamagedKey
from proofq.workers.store import Store

log = logging.getLogger(__name__)

#: Followers told by one script, and scripts for one ended task in one look.
BATCH: Final = 100
BATCHES: Final = 10


class Followers:
    """`name`: the worker, as breadcrumbs show it."""

    def __init__(self, store: Store, door: Door, name: str) -> None:
        self._store = store
        self._door = door
        self._name = name

    def tell(self, ended: Sequence[str]) -> None:
        """Tell the followers of these tasks. One bad row keeps nobody from the others."""
        for task_id in ended:
            try:
                self._tell(task_id)
            except (DamagedKey, ValueError) as problem:
                log.error("row_damaged", extra={"task": task_id, "problem": str(problem)})

    def _tell(self, task_id: str) -> None:
        done: list[str] = []
        later: list[str] = []
        for _ in range(BATCHES):
            word, state, followers = self._follow(task_id, done, later)
            done, later = [], []
            if word == "ended":
                why = self._why(task_id, state)
                for follower in followers:
                    (done if self._expire(follower, task_id, why) else later).append(follower)
            elif word != "more":
                return
        if done or later:
            self._follow(task_id, done, later)

    def _follow(self, task_id: str, done: Sequence[str], later: Sequence[str]) -> tuple[str, str, list[str]]:
        """follow.lua: (told | more | waits | ended, the state of the ended task, followers to be expired)."""
        stamp = rq_view.stamp(self._store.clock.wall())
        lists = [rq_view.compact(list(ids)) for ids in (done, later)]
        answer = self._store.call("follow", task_id, BATCH, stamp, self._name, *lists)
        followers = [text(name) for name in answer[2]] if len(answer) > 2 else []
        return text(answer[0]), text(answer[1]) if len(answer) > 1 else "", followers

    def _why(self, task_id: str, state: str) -> Failure:
        """The class of a predecessor's end is its follower's: the cause stands there."""
        failed = self._store.read(task_id).failure or Failure("cancelled", "somebody asked for it")
        reason = f"task {task_id}, which goes before it, is {state}: {failed.kind}: {failed.reason}"
        return Failure(failed.kind, reason[:1000], source="task", fingerprint=failed.fingerprint)

    def _expire(self, follower: str, task_id: str, why: Failure) -> bool:
        """False for one whose rows are damaged; it is looked at again."""
        try:
            still = partial(_waits_for, other=task_id)
            self._door.apply(follower, Event("expire", self._name, why.reason, failure=why), still=still)
        except UnknownTask:
            return True
        except (DamagedKey, ValueError) as problem:
            log.error("row_damaged", extra={"task": follower, "problem": str(problem)})
            return False
        return True


def _waits_for(task: Task, other: str) -> bool:
    return task.state == DEFERRED and other in task.after_open
