"""Lets tasks go on that a budget held, once there is room in it: it was raised, or its window is over.

What was spent on a task stays counted against its own budget; only a human's replay begins that anew.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Final

from proofq.policies import budget, lifecycle
from proofq.policies.agent import AgentSpec
from proofq.policies.budget import Budget
from proofq.workers import keys
from proofq.workers.door import Door, Event
from proofq.workers.reading import reading, text
from proofq.workers.record import Task

log = logging.getLogger(__name__)

#: Seconds between two looks.
LOOK_S: Final = 10.0
#: Tasks that are let go in one look: where little room is left, the rest would only be held again.
AT_ONCE: Final = 10
#: Held tasks that are looked at in one look; the next one begins behind them.
LOOKED_AT: Final = 500


class Refunding:
    """Looks after held tasks of these agents, in one lane. `providers`: the budgets of each. One thread's."""

    def __init__(
        self, door: Door, lane: str, agents: Mapping[str, AgentSpec], providers: Mapping[str, tuple[Budget, ...]]
    ) -> None:
        self._door = door
        self._clock = door.store.clock
        self._lane = lane
        self._providers = providers
        self._agents = {
            name: spec
            for name, spec in agents.items()
            if spec.lane == lane and (spec.budget or providers.get(spec.provider or ""))
        }
        self._next_s = 0.0
        self._behind = 0
        #: What was spent by counter, as this look has seen it.
        self._seen: dict[str, dict[str, int]] = {}

    def tick(self) -> int:
        """Let go whom there is room for; how many. Asks nothing where no agent has a budget, nor too often."""
        if not self._agents or self._clock.boottime() < self._next_s:
            return 0
        self._next_s = self._clock.boottime() + LOOK_S
        self._seen = {}
        gone = 0
        for task in self._held():
            if gone >= AT_ONCE:
                break
            if self._has_room(task):
                asked = Event("replay", "budget", "there is room in its budget", fields={"spent": "kept"})
                gone += self._door.apply(task.id, asked).ok
        if gone:
            log.info("budget_has_room", extra={"tasks": gone})
        return gone

    def _held(self) -> Iterable[Task]:
        """Held tasks that wait for a budget of ours."""
        store, number = self._door.store, lifecycle.NUMBERS[lifecycle.HELD]
        with reading(keys.states(self._lane)):
            ids = store.client.zrangebyscore(keys.states(self._lane), number, number, start=self._behind, num=LOOKED_AT)
        self._behind = self._behind + LOOKED_AT if len(ids) == LOOKED_AT else 0
        found = store.read_many([text(one) for one in ids])
        return [
            one
            for one in found
            if one.state == lifecycle.HELD and one.agent in self._agents and budget.is_ours(one.failure)
        ]

    def _has_room(self, task: Task) -> bool:
        spec = self._agents[task.agent]
        if not budget.has_room(budget.of_task(spec.budget), task.spent):
            return False
        now, provider = self._clock.wall(), spec.provider or ""
        scopes = budget.scopes("agent", spec.name, spec.budget, now)
        scopes += budget.scopes("provider", provider, self._providers.get(provider, ()), now)
        return all(budget.has_room(scope.limits, self._spent(scope)) for scope in scopes)

    def _spent(self, scope: budget.Scope) -> dict[str, int]:
        key = keys.spent(scope.owner, scope.name, scope.window)
        if key not in self._seen:
            with reading(key):
                row = self._door.store.client.hmget(key, list(budget.UNITS))
            pairs = zip(budget.UNITS, row, strict=True)
            self._seen[key] = {name: int(said) for name, said in pairs if said and said.isdigit()}
        return self._seen[key]
