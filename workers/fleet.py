"""The workers there are, as their owners' rows and beats say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from proofq.workers import keys, pausing
from proofq.workers.reading import reading
from proofq.workers.scripts import DamagedKey
from proofq.workers.store import Store

#: State of an owner whose leases may be taken because nobody has heard from it, and of one known to be dead.
SILENT: Final = "silent"
DEAD: Final = "dead"
#: State of one that takes no task because its tasks' folders leave no room (`disk_quota_mib`).
FULL: Final = "full"
#: State of one whose row cannot be read.
DAMAGED: Final = "damaged"
#: State of one that would take tasks, were its workers not suspended (`rq suspend`).
SUSPENDED: Final = "suspended"


#: What `service` says of agents that workers can serve, were it not for the gate of a provider or a cap.
SERVED: Final = frozenset({"free", "busy"})
#: Seconds for which a version of an agent counts as declared after a worker has last said so: three publications.
REMEMBERED_S: Final = 1800.0


@dataclass(frozen=True)
class Owner:
    """One supervisor: its lane, the agents it declares, and what it holds.

    `state`: starting, ready (it takes leases), suspended, draining, full; silent, dead or damaged whatever it said
    last. `pid` is its launcher's. `slots` is 0 where its row does not say. `silent_s`: by how long it has missed its
    deadline; `seen_s`: how long ago it beat last, None where nobody can tell. `release` is the version of proofq it
    runs, '' before it said so; `versions` are those of its agents;
    `layout` is what it reads and writes in Redis (`policies.layout`), '' where it does not say.
    """

    id: str
    name: str
    host: str
    pid: int | None
    lane: str
    state: str
    slots: int
    agents: frozenset[str]
    tasks: tuple[str, ...]
    silent_s: float = 0.0
    seen_s: float | None = None
    since: int | None = None
    release: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    layout: str = ""
    draining_asked: bool = False
    #: The gate of each of its agents that has a provider.
    gates: Mapping[str, str] = field(default_factory=dict)
    #: The caps of each of its agents that has any, as `policies.caps.words` says them.
    caps: Mapping[str, str] = field(default_factory=dict)
    #: Why it has no room, in words, where it is full.
    full: str = ""

    @property
    def alive(self) -> bool:
        return self.state not in {SILENT, DEAD, DAMAGED}

    @property
    def busy(self) -> bool:
        """Whether every slot is taken."""
        return 0 < self.slots <= len(self.tasks)

    def serves(self, agent: str, lane: str) -> bool:
        """Whether tasks of this agent come to it, now or once a slot is free."""
        return self.alive and self.lane == lane and agent in self.agents


@dataclass(frozen=True)
class Suspension:
    """No worker takes a task; until `until` in the server's milliseconds, None until somebody says `rq resume`."""

    until: int | None


def owners(store: Store) -> list[Owner]:
    """Every owner that has not been forgotten, by name and lane, as of the Redis server's clock."""
    with reading(keys.OWNERS):
        now_ms = _now_ms(store)
        deadlines = store.client.zrange(keys.OWNERS, 0, -1, withscores=True)
    found = [_owner(store, name.decode(), float(deadline), now_ms) for name, deadline in deadlines]
    if any(one is not None and one.state == "ready" for one in found) and suspension(store) is not None:
        found = [one and (replace(one, state=SUSPENDED) if one.state == "ready" else one) for one in found]
    return sorted((one for one in found if one is not None), key=lambda one: (one.name, one.lane, one.id))


def declares(store: Store, agent: str, version: str) -> bool:
    """Whether a live worker declares the agent in exactly this version."""
    return any(owner.alive and owner.versions.get(agent) == version for owner in owners(store))


def publish_versions(store: Store, versions: Mapping[str, str]) -> None:
    """Says that a worker here declares these versions of agents; forgets those of which nobody has said so for long."""
    now_s = _now_ms(store) / 1000
    with reading(keys.VERSIONS):
        if versions:
            rows = {f"{agent} {version}": f"{now_s:.0f}" for agent, version in versions.items()}
            store.client.hset(keys.VERSIONS, mapping=rows)
        old = [name for name, said_s in store.client.hgetall(keys.VERSIONS).items() if now_s > _second(said_s) + 86_400]
        if old:
            store.client.hdel(keys.VERSIONS, *old)


def declares_otherwise(store: Store, agent: str, version: str) -> bool:
    """Whether a worker said within `REMEMBERED_S` that it declares the agent in another version than this one.

    Dead ones count for as long: a worker that was killed is most often started again.
    """
    since_s = _now_ms(store) / 1000 - REMEMBERED_S
    with reading(keys.VERSIONS):
        rows = store.client.hgetall(keys.VERSIONS)
    others = (name.split(b" ") for name, said_s in rows.items() if _second(said_s) >= since_s)
    return any(found[0] == agent.encode() and found[-1] != version.encode() for found in others)


def _second(said: bytes) -> float:
    return float(said) if said.isdigit() else 0.0


def suspension(store: Store) -> Suspension | None:
    """Whether somebody has suspended RQ's workers, and so ours, by `rq suspend`."""
    with reading(keys.RQ_SUSPENDED):
        left_ms = int(store.client.pttl(keys.RQ_SUSPENDED))
        if left_ms == -2:
            return None
        return Suspension(None if left_ms < 0 else _now_ms(store) + left_ms)


def _now_ms(store: Store) -> int:
    seconds, micros = store.client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def serves(store: Store, agent: str, lane: str) -> bool:
    """Whether a live worker of that lane declares the agent."""
    return any(owner.serves(agent, lane) for owner in owners(store))


def service(store: Store, agent: str, lane: str) -> str:
    """What the live workers that declare the agent can do for a queued task of it now: "free", "busy" where all their
    slots are taken, "suspended" by `rq suspend`, "draining" where none of them takes tasks, "full" where that is for
    want of room on a disk, "nobody" where there are none; "paused" where somebody paused the agent, whoever declares
    it."""
    if agent in pausing.paused(store):
        return "paused"
    able = [owner for owner in owners(store) if owner.serves(agent, lane)]
    if not able:
        return "nobody"
    # An owner of an older version says no state; it leases until it says otherwise.
    ready = [owner for owner in able if owner.state not in {"draining", "starting", FULL} or not owner.slots]
    if not ready:
        return "full" if any(owner.state == FULL for owner in able) else "draining"
    if any(owner.state == SUSPENDED for owner in ready):
        return "suspended"
    return "busy" if all(owner.busy for owner in ready) else "free"


def _owner(store: Store, owner_id: str, deadline_ms: float, now_ms: int) -> Owner | None:
    """None for one that was forgotten meanwhile."""
    nothing = Owner(owner_id, "", "", None, "", DAMAGED, 0, frozenset(), ())
    try:
        row, tasks = store.owner_row(owner_id), store.leases_of(owner_id)
    except DamagedKey:
        return nothing
    if not row:
        return None
    state, silent_s = row.get("state") or "starting", 0.0
    if deadline_ms == 0:
        state = DEAD
    elif deadline_ms <= now_ms:
        state, silent_s = SILENT, (now_ms - deadline_ms) / 1000
    return replace(
        nothing,
        name=row.get("name", ""),
        host=row.get("host", ""),
        pid=_number(row.get("launcher_pid")),
        lane=row.get("lane", ""),
        state=state,
        slots=_number(row.get("slots")) or 0,
        agents=frozenset(row.get("agents", "").split()),
        tasks=tuple(sorted(tasks)),
        silent_s=silent_s,
        seen_s=_seen_s(deadline_ms, _number(row.get("isolation_ms")), now_ms),
        since=_number(row.get("since")),
        release=row.get("release", ""),
        versions=versions(row),
        layout=row.get("layout", ""),
        draining_asked="drain" in row,
        gates=versions(row, "gates"),
        caps=versions(row, "caps"),
        full=row.get("full", ""),
    )


def _seen_s(deadline_ms: float, isolation_ms: int | None, now_ms: int) -> float | None:
    """A beat moves the deadline to `isolation_ms` after itself; who is buried has none."""
    if not deadline_ms or isolation_ms is None:
        return None
    return max(0.0, now_ms - (deadline_ms - isolation_ms)) / 1000


def versions(row: Mapping[str, str], name: str = "versions") -> dict[str, str]:
    """What an owner's row says of its agents, such as their versions; empty for an older one, and for what somebody
    broke."""
    raw = row.get(name, "")
    try:
        found = json.loads(raw) if raw else {}
    except ValueError:
        return {}
    return {str(agent): str(said) for agent, said in found.items()} if isinstance(found, dict) else {}


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
