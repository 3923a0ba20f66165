"""The workers that live now, as their owners' rows say."""

from __future__ import annotations

from dataclasses import dataclass

from proofq.workers import keys
from proofq.workers.store import Store, reading


@dataclass(frozen=True)
class LiveOwner:
    """One supervisor that has not been silent for too long: its lane, and the agents it declares."""

    id: str
    name: str
    host: str
    lane: str
    agents: frozenset[str]


def live_owners(store: Store) -> list[LiveOwner]:
    """Every owner whose leases nobody may take, as of the Redis server's clock."""
    with reading(keys.OWNERS):
        seconds, micros = store.client.time()
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        ids = [name.decode() for name in store.client.zrangebyscore(keys.OWNERS, f"({now_ms}", "+inf")]
    rows = {owner: store.owner_row(owner) for owner in ids}
    return [
        LiveOwner(
            owner,
            row.get("name", ""),
            row.get("host", ""),
            row.get("lane", ""),
            frozenset(row.get("agents", "").split()),
        )
        for owner, row in rows.items()
        if row
    ]


def serves(store: Store, agent: str, lane: str) -> bool:
    """Whether a live worker of that lane declares the agent."""
    return any(owner.lane == lane and agent in owner.agents for owner in live_owners(store))
