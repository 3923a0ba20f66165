"""Clients of the simulator: they enqueue (some with a key, for later, or after others), cancel and replay."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from datetime import UTC, datetime
from typing import Any

from proofq.policies.lifecycle import DEFERRED, HELD, QUEUED, TERMINAL
from proofq.workers import keys, rq_view
from proofq.workers.door import Door, Event
from proofq.workers.errors import RedisUnavailable, UnknownTask
from proofq.workers.insist import insist
from proofq.workers.scripts import DamagedKey
from proofq.workers.store import Birth, Store
from tests.simulation.fleet import Fleet
from tests.simulation.hub import Party, SimClock
from tests.simulation.network import SimClient, SimRunner
from tests.simulation.world import AGENTS


@functools.cache
def _job(agent: str, state: str) -> dict[str, Any]:
    """RQ's fields of a task of the agent; making them costs more than a store call."""
    queue = keys.queue_of("work", agent)
    return rq_view.job_fields(agent, queue, state, {"x": 1}, 60, datetime(2026, 1, 1, tzinfo=UTC))


class Client(Party):
    """One outside process with its own way to the store."""

    def __init__(self, fleet: Fleet, name: str, follows: bool) -> None:
        super().__init__(name)
        self._fleet = fleet
        self._hub = fleet.hub
        self._oracle = fleet.network.oracle
        self._clock = SimClock(fleet.hub, self)
        network = fleet.network
        self._store = Store(SimClient(network, self), SimRunner(network, self), self._clock)  # type: ignore[arg-type]
        self._door = Door(self._store, fleet.limits)
        self._follows = follows
        self.refused = 0

    # --- actors ----------------------------------------------------------------------------------------------------

    def produce(self, agents: list[str]) -> None:
        """One task of each, and waits between."""
        for agent in agents:
            self._hub.sleep(self._hub.random.expovariate(1 / 0.4))
            self._enqueue(agent)

    def meddle(self, cancels: int, replays: int) -> None:
        """Cancels and replays whatever there is, at any time; most are refused."""
        acts = ["cancel"] * cancels + ["replay"] * replays
        self._hub.random.shuffle(acts)
        for act in acts:
            self._hub.sleep(self._hub.random.expovariate(1 / 1.5))
            task_id = self._choose(act)
            if task_id is not None:
                self._act(task_id, act)

    # --- acts ------------------------------------------------------------------------------------------------------

    def _enqueue(self, agent: str) -> None:
        chance = self._hub.random.random()
        later = chance < 0.12
        key = f"key-{self._hub.random.randrange(3)}" if chance > 0.75 else ""
        max_age_s = 15.0 if self._hub.random.random() < 0.06 else 900.0
        state = DEFERRED if later else QUEUED
        spec = AGENTS[agent][0]
        birth = Birth(
            id=self._clock.name(),
            queue=keys.queue_of(spec.lane, agent),
            state=state,
            event="enqueue_later" if later else "enqueue",
            who=self.name,
            fields={
                "agent": agent,
                "lane": spec.lane,
                "inputs": '{"x":1}',
                "max_age_s": repr(max_age_s),
                "attempt": "0",
                "counted": "0",
                "max_attempts": str(spec.max_attempts),
            },
            job=_job(agent, state),
            max_age_ms=round(max_age_s * 1000),
            not_before_ms=self._hub.now + round(self._hub.uniform(500, 6000)) if later else None,
            key=keys.key(agent, key) if key else "",
            digest=f"digest-{self._hub.random.randrange(2)}" if key else "",
            unique_ms=3_600_000,
        )
        try:
            if self._send(self._after_others(birth)) in {"unknown", "ended", "met"}:
                self._send(birth)
        except (RedisUnavailable, DamagedKey):
            self.refused += 1

    def _send(self, birth: Birth) -> str:
        tries = itertools.count(1)
        return insist(lambda: self._store.enqueue(birth), self._clock, lambda: next(tries) >= 30)[0]

    def _after_others(self, birth: Birth) -> Birth:
        """Now and then it waits for one or two of the tasks that there are, most of which have yet to end."""
        if not self._follows:
            return birth
        tasks = [name for name, seen in self._oracle.tasks.items() if seen.row.get("state") not in TERMINAL]
        if not tasks or self._hub.random.random() > 0.4:
            return birth
        after = sorted({self._hub.random.choice(tasks) for _ in range(self._hub.random.choice((1, 1, 2)))})
        fields = {**birth.fields, "after": json.dumps(after)}
        job = _job(birth.fields["agent"], DEFERRED)
        return dataclasses.replace(birth, state=DEFERRED, event="enqueue_after", fields=fields, job=job, after=after)

    def _choose(self, act: str) -> str | None:
        """Mostly one that the act fits."""
        tasks = list(self._oracle.tasks.items())
        ended = [name for name, seen in tasks if seen.row.get("state") in TERMINAL | {HELD}]
        fit = ended if act == "replay" else [name for name, _ in tasks if name not in ended]
        if not fit or self._hub.random.random() < 0.2:
            fit = [name for name, _ in tasks]
        return self._hub.random.choice(fit) if fit else None

    def _act(self, task_id: str, act: str) -> None:
        try:
            self._door.apply(task_id, Event(act, self.name, "asked by a client"))
        except (RedisUnavailable, DamagedKey, UnknownTask):
            self.refused += 1
