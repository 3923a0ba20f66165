"""Redis' clock goes ahead between two looks of a reaper: nobody alive loses a lease by it."""

from __future__ import annotations

from collections.abc import Mapping

import redis

from proofq.policies import isolation
from proofq.policies.agent import AgentSpec
from proofq.workers.clock import SystemClock
from proofq.workers.door import Door
from proofq.workers.owner import Owner
from proofq.workers.reaper import Reaper
from proofq.workers.record import Lease
from proofq.workers.scripts import RedisRunner
from proofq.workers.store import Store
from tests.heart import AGENT, ISOLATION_MS, Heart, birth


class Stepped(SystemClock):
    """This host's clock and the server's apart, both moved by hand."""

    def __init__(self, server_ms: int) -> None:
        super().__init__()
        self.server_ms = server_ms
        self.boot_s = 1000.0

    def script_now(self) -> str:
        return str(self.server_ms)

    def boottime(self) -> float:
        return self.boot_s

    def tick(self) -> None:
        self.boot_s += isolation.TICK_S
        self.server_ms += round(isolation.TICK_S * 1000)


class Elsewhere:
    """A host that sees nobody's processes."""

    id = "another-host"

    def is_dead(self, row: Mapping[str, str]) -> bool:
        return False

    def kill_agents(self, row: Mapping[str, str]) -> None:
        raise AssertionError(row)


def test_a_step_ahead_reaps_nobody_alive(redis_client: redis.Redis) -> None:
    """An owner that beats each second keeps its lease over a step of ten isolations; once silent it loses it."""
    heart = Heart(redis_client)
    heart.enlist("o")
    heart.store.enqueue(birth("t"))
    heart.held()
    clock = Stepped(round(redis_client.time()[0]) * 1000)
    store = Store(redis_client, RedisRunner(redis_client), clock)
    taken: list[Lease] = []
    mine = Owner(store, "r", ISOLATION_MS / 1000, lambda: None, lambda *_: None)
    store.enlist("r", Elsewhere.id, ISOLATION_MS, {"id": "r"})
    agents = {AGENT: AgentSpec(AGENT, "command", command=("true",), unproven=True)}
    reaper = Reaper(store, Door(store, heart.door.limits), mine, Elsewhere(), "r", agents, taken.append)

    def look(beats: bool) -> None:
        """One second: the reaper may look first, and its owner beats as ever."""
        clock.tick()
        reaper.run_once()
        mine.beat()
        if beats:
            assert store.beat("o", ISOLATION_MS) is not None

    for _ in range(6):
        look(beats=True)
    clock.server_ms += 10 * ISOLATION_MS
    for _ in range(6):
        look(beats=True)
    assert taken == []
    clock.boot_s += 5.0
    clock.server_ms += 2 * ISOLATION_MS
    for _ in range(6):
        look(beats=False)
    assert [lease.task.id for lease in taken] == ["t"]
