"""Which gate keeps a queued task waiting, as people and scripts are told."""

from __future__ import annotations

from typing import Any

from proofq.policies.gate_words import Shut
from proofq.workers import fleet, gates, keys
from proofq.workers.clock import iso
from proofq.workers.gates import Gate
from proofq.workers.reading import reading
from proofq.workers.scripts import DamagedKey
from proofq.workers.store import Store


def before(store: Store, agent: str, lane: str) -> Gate | None:
    """The gate that no worker which declares the agent can pass now, the one that opens first; None where one can."""
    serving = [owner for owner in fleet.owners(store) if owner.serves(agent, lane)]
    names = {owner.gates.get(agent, "") for owner in serving}
    if not names or "" in names:
        return None
    with reading(keys.GATES):
        seconds, micros = store.client.time()
    there = [gates.read(store, name) for name in sorted(names)]
    if any(one.is_open(int(seconds) * 1000 + int(micros) // 1000) for one in there):
        return None
    return min(there, key=lambda one: (one.until is None, one.until or 0))


def probed_by(store: Store, task_id: str) -> Gate | None:
    """The gate that an attempt of the task tries just now. What is no gate of ours is none: `audit` names it."""
    try:
        return next((one for one in gates.read_all(store) if one.probe == task_id), None)
    except DamagedKey:
        return None


def shut(one: Gate) -> Shut:
    """The gate as its words need it."""
    return Shut(one.provider, one.key, one.state, one.reason, iso(one.since) or "", iso(one.until) or "", one.probe)


def waiting_for(one: Gate) -> dict[str, Any]:
    """`waiting_for` of a task that a gate keeps waiting."""
    return {"what": "gate", "name": one.provider, "until": iso(one.until), "state": one.state, "key": one.key}
