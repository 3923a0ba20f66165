"""The fleet as people and scripts see it: the JSON of `proofq status`, and what in it wants attention.

Work and meta are counted apart, so that commentary never looks like work. Nothing here reads all tasks: the counts are
kept by the scripts that move them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from proofq.policies import gate_words, lifecycle
from proofq.policies.incident import OPEN
from proofq.workers import connection, effects, fleet, gate_view, gates, incidents, keys, lanes, pausing
from proofq.workers.census import Census, QueueHead
from proofq.workers.clock import iso
from proofq.workers.connection import Condition
from proofq.workers.fleet import Owner, Suspension
from proofq.workers.gates import Gate
from proofq.workers.incidents import Incident
from proofq.workers.pausing import Paused
from proofq.workers.reading import reading
from proofq.workers.scripts import DamagedKey
from proofq.workers.store import Store

T = TypeVar("T")

LANES = ("work", "meta")


@dataclass(frozen=True)
class Status:
    """Everything `proofq status` shows, read within a moment; the counts are of one instant."""

    census: Census
    owners: list[Owner]
    server: Condition
    suspended: Suspension | None = None
    paused: Sequence[Paused] = ()
    #: Effects that were begun and nobody has confirmed; see `effects.item`.
    unconfirmed: Sequence[Mapping[str, Any]] = ()
    gates: Sequence[Gate] = ()
    #: Those that are open or acknowledged.
    incidents: Sequence[Incident] = ()

    def document(self) -> dict[str, Any]:
        """Under the names of the contract."""
        oldest = self.oldest()
        return {
            **{lane: self.counts(lane) for lane in LANES},
            "gates": [one.item() for one in self.gates],
            "workers": [_worker(owner) for owner in self.lanes()],
            "incidents": [one.to_dict() for one in self.incidents],
            "oldest_queued": None if oldest is None else {"id": oldest.head, "age_s": self.age_s(oldest)},
            "unserved": [{"lane": one.lane, "agent": one.agent, "queued": one.length} for one in self.unserved()],
            "paused": [one.to_dict() for one in self.paused],
            "unconfirmed": list(self.unconfirmed),
            "redis": {
                "used_bytes": self.server.used_bytes,
                "max_bytes": self.server.max_bytes,
                "refuses": self.server.refuses or None,
            },
            "suspended": None if self.suspended is None else {"by": "rq", "until": iso(self.suspended.until)},
            "attention": list(self.attention()),
        }

    def counts(self, lane: str) -> dict[str, int]:
        """How many tasks of a lane are in each state, in the order of a task's life."""
        return {state: self.census.lanes[lane].get(state, 0) for state in lifecycle.STATES}

    def lanes(self) -> list[Owner]:
        """A row for each lane of each worker."""
        return lanes.merged(self.owners)

    def oldest(self) -> QueueHead | None:
        """The queue whose first task was enqueued before all others'."""
        heads = [one for one in self.census.queues if one.enqueued_at is not None]
        return min(heads, key=lambda one: one.enqueued_at or 0, default=None)

    def age_s(self, head: QueueHead) -> float:
        """How long ago the first task of a queue was enqueued."""
        born = self.census.now if head.enqueued_at is None else head.enqueued_at
        return max(0, self.census.now - born) / 1000

    def unserved(self) -> list[QueueHead]:
        """Queues with tasks that no live worker would take."""
        return [
            one for one in self.census.queues if not any(owner.serves(one.agent, one.lane) for owner in self.owners)
        ]

    def attention(self) -> Iterator[str]:
        """What somebody should look at, a sentence each; none when all is well."""
        if self.server.refuses:
            yield f"Redis refuses to write: {self.server.refuses}."
        elif self.server.nearly_full:
            yield f"Redis has used {self.server.used_bytes / self.server.max_bytes:.0%} of its maxmemory; give it more."
        if self.suspended is not None:
            until = f"until {iso(self.suspended.until)}" if self.suspended.until else "until `rq resume`"
            yield f"workers are suspended (`rq suspend`) {until}: they finish what they have and take nothing new."
        for queue in self.unserved():
            yield (
                f"no live worker declares agent {queue.agent}, for which {_tasks(queue.length)} of lane {queue.lane} "
                "must wait; start `proofq worker` where it is declared."
            )
        for one in self.paused:
            waiting = sum(queue.length for queue in self.census.queues if queue.agent == one.agent)
            since = f" since {iso(one.at)} by {one.who}" if one.at else ""
            yield (
                f"agent {one.agent} is paused{since}, and {_tasks(waiting)} must wait; "
                f"`proofq resume {one.agent}` lets them run."
            )
        for gate in self.gates:
            if sentence := gate_words.attention(gate_view.shut(gate)):
                yield sentence
        for owner in self.owners:
            if not owner.alive:
                yield _lost(owner)
            elif owner.state == fleet.FULL:
                yield f"worker {owner.name} ({owner.lane}) on {owner.host} takes no task: {owner.full}."
        for incident in self.incidents:
            if incident.state == OPEN:
                yield _incident(incident)
        for lane in LANES:
            if held := self.counts(lane)[lifecycle.HELD]:
                yield f"held for a human: {_tasks(held)} of lane {lane}; `proofq tasks --state held` lists them."
        if self.unconfirmed:
            tasks = len({one["task"] for one in self.unconfirmed})
            yield (
                f"begun and never confirmed: effects on the world of {_tasks(tasks)}; `proofq effect list` lists them."
            )
        for key, actual in self.census.damaged:
            yield f"the key {key} holds a {actual}, which is not ours; it counts as empty here. Move it away (RENAME)."
        if self.census.strays:
            yield f"found in queues, and no tasks of ours: {self.census.strays}; `proofq audit` lists them."
        if self.census.uncounted:
            yield f"missing in these counts: {_tasks(self.census.uncounted)}; `proofq audit` names them."


def read(store: Store) -> Status:
    """Raises RedisUnavailable, and DamagedKey where the list of owners or of paused agents is none.

    Other lists that are a stranger's key count as empty, and are named: `status` is what one looks at first.
    """
    census = store.census()

    def there(found: Callable[[], list[T]]) -> list[T]:
        try:
            return found()
        except DamagedKey as problem:
            census.damaged.append((problem.key, problem.actual))
            return []

    with reading(keys.OWNERS):
        server = connection.condition(store.client)
    paused = list(pausing.paused(store).values())
    unconfirmed = [one for one in there(lambda: [*effects.open_ones(store)]) if one["state"] == "unconfirmed"]
    unclosed = incidents.unclosed(store)
    shown = there(lambda: gates.read_all(store))
    return Status(census, fleet.owners(store), server, fleet.suspension(store), paused, unconfirmed, shown, unclosed)


def _incident(one: Incident) -> str:
    hint = f"`proofq incident show {one.id}`"
    return f"incident {one.id} ({one.severity}): {one.title}, last {iso(one.times.get('last'))}; {hint} says more."


def _worker(owner: Owner) -> dict[str, Any]:
    return {
        "name": owner.name,
        "host": owner.host,
        "pid": owner.pid,
        "lane": owner.lane,
        "state": owner.state,
        "tasks": list(owner.tasks),
        "slots": owner.slots,
        "agents": sorted(owner.agents),
    }


def _lost(owner: Owner) -> str:
    what = f"silent for {owner.silent_s:.0f} s too long" if owner.state == fleet.SILENT else owner.state
    holds = f"{_tasks(len(owner.tasks))}, which another worker takes over" if owner.tasks else "nothing"
    return f"worker {owner.name or owner.id} ({owner.lane or '?'}) on {owner.host or '?'} is {what}; it holds {holds}."


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"
