"""Of two declarations of one agent, that under which an attempt ran judges its claim, as long as a worker has it."""

from __future__ import annotations

import json

import redis

from proofq.policies.agent import AgentSpec
from proofq.workers.owner import Owner
from proofq.workers.reaper import Reaper
from proofq.workers.record import Lease
from tests.heart import AGENT, HOST, ISOLATION_MS, Heart, birth


class Elsewhere:
    """A host that sees nobody's processes."""

    id = "another-host"

    def is_dead(self, row: object) -> bool:
        return False

    def kill_agents(self, row: object) -> None:
        raise AssertionError(row)


def test_a_claim_is_left_to_who_declares_it_alike(redis_client: redis.Redis) -> None:
    """The dead worker's declaration is another than ours: taken over by us only once no live worker has it."""
    heart = Heart(redis_client)
    spec = AgentSpec(AGENT, "command", command=("true",), unproven=True)
    versions = {"versions": json.dumps({AGENT: "another"}), "agents": AGENT}
    heart.store.enlist("o", HOST, ISOLATION_MS, versions)
    heart.store.enlist("n", HOST, ISOLATION_MS, versions)
    heart.store.enqueue(birth("t"))
    heart.claimed("o")
    heart.store.bury("o", HOST, {})
    taken: list[Lease] = []
    mine = Owner(heart.store, "r", ISOLATION_MS / 1000, lambda: None, lambda *_: None)
    heart.store.enlist("r", Elsewhere.id, ISOLATION_MS, {"versions": json.dumps({AGENT: spec.version})})
    reaper = Reaper(heart.store, heart.door, mine, Elsewhere(), "r", {AGENT: spec}, taken.append)
    reaper.run_once()
    assert taken == []
    assert heart.store.leases_of("o") == ["t"]
    heart.store.bury("n", HOST, {})
    reaper.run_once()
    assert [lease.task.id for lease in taken] == ["t"]
