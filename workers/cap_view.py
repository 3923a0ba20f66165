"""Which cap keeps a queued task waiting, as people and scripts are told."""

from __future__ import annotations

from typing import Any, Final

from proofq.policies import caps
from proofq.policies.cap_words import Reached
from proofq.policies.caps import Cap
from proofq.workers import fleet, keys
from proofq.workers.clock import iso
from proofq.workers.reading import reading
from proofq.workers.scripts import DamagedKey
from proofq.workers.store import Store

#: Marks beside the tasks of an index have this score (lua/caps.lua).
_MARK: Final = 0


def before(store: Store, agent: str, lane: str) -> Reached | None:
    """The cap that is reached now for every worker which declares the agent; None where one of them could lease it."""
    found = None
    for owner in fleet.owners(store):
        if owner.serves(agent, lane):
            found = next(filter(None, (_reached(store, cap) for cap in caps.read(owner.caps.get(agent, "")))), None)
            if found is None:
                return None
    return found


def waiting_for(reached: Reached) -> dict[str, Any]:
    """`waiting_for` of a task that a cap keeps waiting."""
    cap = reached.cap
    return {
        "what": "cap",
        "name": cap.of,
        "until": reached.until or None,
        "of": cap.owner,
        "max_running": cap.max_running,
        "running": reached.running,
        "rate": cap.rate and cap.rate.to_dict(),
    }


def _reached(store: Store, cap: Cap) -> Reached | None:
    try:
        with reading(keys.running(cap.name)):
            running = int(store.client.zcount(keys.running(cap.name), _MARK + 1, "+inf"))
        if cap.max_running is not None and running >= cap.max_running:
            return Reached(cap, running)
        if cap.rate is None:
            return None
        with reading(keys.starts(cap.name)):
            said = store.client.lindex(keys.starts(cap.name), -cap.rate.starts)
            seconds, micros = store.client.time()
    except DamagedKey:
        return Reached(cap, damaged=True)
    until = int(float(said)) + cap.per_ms if said else 0
    spent = until > int(seconds) * 1000 + int(micros) // 1000
    return Reached(cap, running, spent=True, until=iso(until) or "") if spent else None
