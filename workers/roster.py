"""Who declares which agent: every agent there is, its versions, the live workers that serve it, and what waits for it.

Counts are those of RQ's view of each queue: three commands per agent in one round trip, whatever the number of tasks.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from proofq.workers import fleet, keys, known_agents, pausing
from proofq.workers.errors import Error, UnknownAgent
from proofq.workers.fleet import Owner
from proofq.workers.pausing import Paused
from proofq.workers.reading import reading, text
from proofq.workers.session import Session
from proofq.workers.store import Store


class UnknownWorker(Error):
    """No live worker has this name. The message names the nearest."""

    kind = "unknown_worker"


@dataclass(frozen=True)
class Agent:
    """One agent of one lane. `versions`: version -> names of the live workers that declare it so, '' for workers that
    do not say. `version` is the one published last, None where none was. `waiting` are queued, `running` leased or
    further, `later` deferred or held."""

    name: str
    lane: str
    version: str | None
    provider: str | None
    versions: Mapping[str, list[str]]
    waiting: int
    running: int
    later: int
    paused: Paused | None

    @property
    def served(self) -> bool:
        """Whether a live worker declares it."""
        return bool(self.versions)

    def to_dict(self) -> dict[str, Any]:
        """One item of `proofq agents`."""
        return {
            "agent": self.name,
            "lane": self.lane,
            "provider": self.provider,
            "version": self.version,
            "versions": [
                {"version": version or None, "workers": workers} for version, workers in self.versions.items()
            ],
            "workers": sorted({name for workers in self.versions.values() for name in workers}),
            "served": self.served,
            "waiting": self.waiting,
            "running": self.running,
            "later": self.later,
            "paused": None if self.paused is None else {"since": self.paused.to_dict()["since"], "by": self.paused.who},
        }


def agents(opened: Session) -> list[Agent]:
    """Every agent that a live worker declares, that was published in the last 30 days, that has tasks, or is paused.

    Raises RedisUnavailable and DamagedKey.
    """
    store = opened.store
    owners = [one for one in fleet.owners(store) if one.alive]
    published, paused = known_agents.recent(opened), pausing.paused(store)
    declared = {(one.lane, name) for one in owners for name in one.agents if _is_of(one, name, published)}
    lanes = declared | {(entry.get("lane", "work"), name) for name, entry in published.items()}
    counted = _counts(store, lanes | _queues(store))
    lanes |= {where for where, counts in counted.items() if any(counts)}
    # One that nobody knows any more is still paused.
    lanes |= {("work", name) for name in paused if not any(name == other for _, other in lanes)}
    return [
        Agent(
            name=name,
            lane=lane,
            version=published.get(name, {}).get("version"),
            provider=published.get(name, {}).get("provider"),
            versions=_versions(name, [one for one in owners if one.lane == lane and _is_of(one, name, published)]),
            waiting=counted.get((lane, name), (0, 0, 0))[0],
            running=counted.get((lane, name), (0, 0, 0))[1],
            later=counted.get((lane, name), (0, 0, 0))[2],
            paused=paused.get(name),
        )
        for lane, name in sorted(lanes, key=lambda where: (where[1], where[0]))
    ]


def known(opened: Session, name: str) -> str:
    """The name back. Raises UnknownAgent with the nearest where no worker, no task and no declaration here has it."""
    names = {one.name for one in agents(opened)} | opened.project.agents.keys()
    if name not in names:
        raise UnknownAgent(f"Nobody declares an agent {name:.80}, and no task is for it. {near(name, names)}")
    return name


def worker(store: Store, name: str) -> list[Owner]:
    """The live supervisors of the worker called `name`. Raises UnknownWorker with the nearest names."""
    owners = fleet.owners(store)
    found = [one for one in owners if one.name == name and one.alive]
    if not found:
        gone = next((f"The worker {name} is {one.state}." for one in owners if one.name == name), "")
        names = sorted({one.name for one in owners if one.alive})
        raise UnknownWorker(f"{gone or f'No worker is called {name:.120}.'} {near(name, names)}")
    return found


def near(name: str, names: Iterable[str]) -> str:
    """A sentence with the names that look like it, else with some of those there are."""
    there = sorted(names)
    close = difflib.get_close_matches(name, there, n=3)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    if there:
        return f"There are {', '.join(there[:10])}{' and others' if len(there) > 10 else ''}."
    return "There are none at present."


def _is_of(owner: Owner, name: str, published: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether an owner serves the agent in its lane. One that gives no versions names the agents of all lanes."""
    if owner.versions:
        return name in owner.versions
    return name in owner.agents and bool(published.get(name, {}).get("lane", owner.lane) == owner.lane)


def _versions(name: str, owners: Iterable[Owner]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in owners:
        found.setdefault(one.versions.get(name, ""), []).append(one.name)
    return {version: sorted(set(names)) for version, names in sorted(found.items())}


def _queues(store: Store) -> set[tuple[str, str]]:
    """(lane, agent) of every queue of ours that RQ knows."""
    with reading(keys.RQ_QUEUES):
        names = [text(raw) for raw in store.client.smembers(keys.RQ_QUEUES)]
    parts = [name.removeprefix(keys.RQ_QUEUE).partition(".") for name in names]
    return {(lane, agent) for lane, dot, agent in parts if dot and lane in {"work", "meta"}}


def _counts(store: Store, lanes: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, int, int]]:
    """(lane, agent) -> waiting, running, later; a key of another type counts as 0, and the audit names it."""
    ordered = sorted(lanes)
    with reading(keys.RQ_QUEUES), store.client.pipeline(transaction=False) as pipe:
        for lane, agent in ordered:
            queue = keys.queue_of(lane, agent)
            pipe.llen(keys.rq_queue(queue))
            pipe.zcard(keys.rq_registry("started", queue))
            pipe.zcard(keys.rq_registry("deferred", queue))
        said = [answer if isinstance(answer, int) else 0 for answer in pipe.execute(raise_on_error=False)]
    return {where: (said[3 * n], said[3 * n + 1], said[3 * n + 2]) for n, where in enumerate(ordered)}
