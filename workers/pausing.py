"""Agents that somebody paused: their tasks stay queued and are never leased; attempts that run go on.

The lease looks at it itself, in its one step: one `HKEYS`, mostly of a key that is not there. No command of its own,
and nothing in any worker that could forget it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from proofq.workers import keys
from proofq.workers.clock import iso
from proofq.workers.insist import insist, tries
from proofq.workers.reading import reading, text
from proofq.workers.store import Store


@dataclass(frozen=True)
class Paused:
    """An agent that is paused: since when (epoch milliseconds of Redis) and by whom; None and "" for a broken row."""

    agent: str
    at: int | None
    who: str

    def to_dict(self) -> dict[str, Any]:
        """For documents."""
        return {"agent": self.agent, "since": iso(self.at), "by": self.who}


def pause(store: Store, agent: str, who: str) -> bool:
    """Leases no task of the agent from now on; False if it was paused before. Raises RedisUnavailable, DamagedKey."""
    return _act(store, "pause", agent, who)


def resume(store: Store, agent: str) -> bool:
    """Leases tasks of the agent again, at once; False if it was not paused. Raises RedisUnavailable, DamagedKey."""
    return _act(store, "resume", agent, "")


def paused(store: Store) -> dict[str, Paused]:
    """Every paused agent by its name, those that nobody declares included."""
    with reading(keys.PAUSED):
        rows = store.client.hgetall(keys.PAUSED)
    found = [_parse(text(agent), raw) for agent, raw in rows.items()]
    return {one.agent: one for one in sorted(found, key=lambda one: one.agent)}


def _act(store: Store, verb: str, agent: str, who: str) -> bool:
    return bool(insist(lambda: store.call("pause", verb, agent, who), store.clock, tries())[0] == b"done")


def _parse(agent: str, raw: bytes) -> Paused:
    try:
        row = json.loads(raw)
        return Paused(agent, int(row["at"]), str(row["who"]))
    except (ValueError, KeyError, TypeError):
        # The lease asks for the name alone: it is paused whatever else stands there.
        return Paused(agent, None, "")
