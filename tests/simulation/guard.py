"""The forkserver of a dead supervisor."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from proofq.workers.errors import RedisUnavailable
from proofq.workers.insist import insist
from proofq.workers.scripts import DamagedKey
from proofq.workers.store import Store
from tests.simulation.hub import Party, SimClock
from tests.simulation.network import SimClient, SimRunner

if TYPE_CHECKING:
    from tests.simulation.fleet import Incarnation


class Guard(Party):
    """Kills what is left, then says so, its only store call."""

    def __init__(self, of: Incarnation) -> None:
        super().__init__(f"{of.name}.guard", of.link)
        self._of = of
        self._hub = of.hub
        clock = SimClock(of.hub, self)
        network = of.fleet.network
        self._store = Store(SimClient(network, self), SimRunner(network, self), clock)  # type: ignore[arg-type]
        self._clock = clock

    def act(self) -> None:
        world = self._of.fleet.world
        self._hub.sleep(self._hub.uniform(0, 0.05))
        for agent in world.of(self._of):
            world.kill(agent, "guard")
        while left := world.of(self._of):
            left[0].gone.wait(None)
        until = self._hub.now + 30_000
        with contextlib.suppress(RedisUnavailable, DamagedKey):
            insist(
                lambda: self._store.bury(self._of.owner_id, self._of.host, {"dead": "1", "why": "its guard said so"}),
                self._clock,
                lambda: self._hub.now > until,
            )
