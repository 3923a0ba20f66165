"""Replays of many tasks at once: by class, fingerprint and agent, a page at a time, each an event at the door.

What is replayed is what stood there when it began: a task that ends again meanwhile is not replayed twice. Asked again
after it broke off it goes on with the rest, since whoever was replayed is none of those any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from proofq.policies import lifecycle
from proofq.workers import by_state, task_view
from proofq.workers.door import Door, Event
from proofq.workers.errors import Error, RedisUnavailable, Refused
from proofq.workers.insist import tries
from proofq.workers.record import Task
from proofq.workers.session import Session
from proofq.workers.store import Store

#: Replays a second unless somebody says otherwise: what failed at once need not come back at once.
RATE: Final = 100.0
#: What a filter looks through, in this order: the held first, since a replay can lead to any of the others.
STATES: Final = (lifecycle.HELD, lifecycle.FAILED, lifecycle.QUARANTINED, lifecycle.EXPIRED)
REASON: Final = "somebody asked for another run"


@dataclass(frozen=True)
class Wanted:
    """What a task must have to be replayed; None asks for nothing. `kind` is the class of its failure."""

    kind: str | None = None
    fingerprint: str | None = None
    agent: str | None = None

    @property
    def asks_nothing(self) -> bool:
        """Whether any task fits."""
        return self == Wanted()

    def fits(self, task: Task) -> bool:
        """All that is asked for holds of the task."""
        failed = task.failure
        return (
            self.agent in (None, task.agent)
            and self.kind in (None, failed.kind if failed else "")
            and self.fingerprint in (None, failed.fingerprint if failed else "")
        )

    def states(self) -> tuple[str, ...]:
        """Where to look. What somebody cancelled is run after all only by its own name, or that of its class."""
        return (*STATES, lifecycle.CANCELLED) if self.kind == "cancelled" else STATES


@dataclass(frozen=True)
class Replayed:
    """One task: replayed (or to be replayed, in a dry run), or why not. `task` is what it was, where it was read."""

    id: str
    task: Task | None = None
    problem: Error | None = None


def replay(
    opened: Session, ids: Sequence[str], wanted: Wanted, who: str, *, dry_run: bool, rate: float = RATE
) -> Iterator[Replayed]:
    """Replay these ids (without any: every task) that `wanted` fits, one by one as the iterator is drawn from.

    A dry run only reads. `rate`: at most so many a second, all in all. Raises RedisUnavailable and DamagedKey; what was
    yielded before that was done.
    """
    door, event, clock = opened.door, Event("replay", who, REASON), opened.store.clock
    begun_s, tried = clock.boottime(), 0
    for row in _named(opened.store, ids, wanted, dry_run) if ids else matching(opened, wanted):
        if row.problem is not None or dry_run:
            yield row
        else:
            early_s = begun_s + tried / rate - clock.boottime()
            if early_s > 0:
                clock.sleep(early_s)
            tried += 1
            yield replace(row, problem=_apply(door, row.id, event))


def count(store: Store, wanted: Wanted) -> int:
    """How many tasks a filter has to look at, at most."""
    return sum(by_state.count(store, lane, state) for lane in by_state.LANES for state in wanted.states())


def _apply(door: Door, task_id: str, event: Event) -> Error | None:
    """What refused it; None when it is done."""
    try:
        settled = door.apply(task_id, event, tries())
    except RedisUnavailable:
        raise
    except Error as problem:
        return problem
    return None if settled.ok else Refused(f"replay of task {task_id} is refused: {settled.reason}.")


def _named(store: Store, ids: Sequence[str], wanted: Wanted, dry_run: bool) -> Iterator[Replayed]:
    """Tasks by their ids. They are read only where something is asked of them, or nothing else will."""
    for task_id in dict.fromkeys(ids):
        try:
            task_view.possible_id(task_id)
            task = None if wanted.asks_nothing and not dry_run else store.read(task_id)
        except RedisUnavailable:
            raise
        except (Error, ValueError) as problem:
            known = problem if isinstance(problem, Error) else Error(f"{problem}. `proofq audit` says more.")
            yield Replayed(task_id, problem=known)
            continue
        yield Replayed(task_id, task, None if task is None else _unfit(task, wanted))


def _unfit(task: Task, wanted: Wanted) -> Error | None:
    if not wanted.fits(task):
        return Refused(f"Task {task.id} is not one of those that were asked for.")
    if lifecycle.next_state(task.state, "replay") is None:
        return Refused(f"replay of task {task.id} would be refused: it is {task.state}.")
    return None


def matching(opened: Session, wanted: Wanted) -> Iterator[Replayed]:
    """Every task that stood in one of the states when this began, and fits."""
    begun_ms = opened.now_ms()
    for lane in by_state.LANES:
        for state in wanted.states():
            for page in by_state.pages(opened.store, lane, state):
                for task in opened.store.read_many(page):
                    # One that ended since then was replayed, by this walk or by somebody else, and has had its answer.
                    if task.state == state and (task.ended_at or 0) <= begun_ms and wanted.fits(task):
                        yield Replayed(task.id, task)
