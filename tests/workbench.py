"""A worker's moves without its processes: leases and events at the door, to bring a task into any state."""

from __future__ import annotations

import json
from typing import Any

from proofq.policies import lifecycle
from proofq.policies.failure import Failure
from proofq.policies.settlement import Limits
from proofq.workers import keys
from proofq.workers.door import Door, Event, Settled
from proofq.workers.leasing import Wish
from proofq.workers.record import Lease
from proofq.workers.session import Session

HELD = {"outcome": "verified", "proofs": [{"kind": "file", "outcome": "verified", "evidence": {"size": 3}}]}
BROKEN = {
    "outcome": "unverified",
    "proofs": [{"kind": "file", "outcome": "unverified", "evidence": {"reason": "gone"}}],
}


class Bench:
    """One live owner that declares `agents`."""

    def __init__(self, session: Session, *agents: str, owner: str = "bench") -> None:
        self.store = session.store
        self.door = Door(self.store, Limits())
        self.owner = owner
        row = {"id": owner, "name": "bench-worker", "host": "bench-host", "lane": "work", "agents": " ".join(agents)}
        row |= {"release": "0.0.0", "versions": json.dumps(dict.fromkeys(agents, "bench-version"))}
        self.store.enlist(owner, "bench-host-id", 600_000, row)

    def lease(self, task_id: str) -> Lease:
        """The lease of a queued task; nothing else may stand in its queue."""
        queue = self.store.read(task_id).queue
        wish = Wish(self.owner, "0", self.store.clock.token(), [queue], "bench-worker", "bench-host")
        lease = self.store.lease(wish)
        assert lease is not None
        assert lease.task.id == task_id
        return lease

    def event(self, lease: Lease, name: str, **facts: Any) -> Settled:
        """An event of the holder; it must be accepted."""
        settled = self.door.settle(lease, Event(name, "bench-worker", **facts))
        assert settled.ok, settled
        return settled

    def run(self, task_id: str) -> Lease:
        """Lease the task and start it."""
        settled = self.event(self.lease(task_id), "start", fields={"pid": 1, "start_ticks": 1})
        assert settled.lease is not None
        return settled.lease

    def claim(self, task_id: str, claim: Any = "done") -> Lease:
        """Lease, start, and let it say that it is done."""
        settled = self.event(self.run(task_id), "claim", claim=claim)
        assert settled.lease is not None
        return settled.lease

    def verify(self, task_id: str, claim: Any = "done") -> None:
        """Bring the task to its proven end."""
        self.event(self.claim(task_id, claim), "verify", verdict=HELD)

    def fail(self, task_id: str, kind: str, reason: str = "for a reason", **facts: Any) -> str:
        """Run the task and let the attempt fail with this class; the state it comes to."""
        failure = Failure(kind, reason, fingerprint="same")
        return self.event(self.run(task_id), "failed", failure=failure, **facts).state

    def to(self, task_id: str, state: str) -> None:
        """Bring a fresh task into a state."""
        match state:
            case lifecycle.QUEUED:
                pass
            case lifecycle.LEASED:
                self.lease(task_id)
            case lifecycle.RUNNING:
                self.run(task_id)
            case lifecycle.CLAIMED_DONE:
                self.claim(task_id)
            case lifecycle.VERIFIED:
                self.verify(task_id)
            case lifecycle.FINISHED_UNPROVEN:
                self.event(self.claim(task_id), "finish_unproven")
            case lifecycle.DEFERRED:
                assert self.fail(task_id, "network") == state
            case lifecycle.HELD:
                assert self.fail(task_id, "auth") == state
            case lifecycle.FAILED:
                assert self.fail(task_id, "timeout") == state
            case lifecycle.QUARANTINED:
                assert self.fail(task_id, "policy_error") == state
            case lifecycle.CANCELLED:
                assert self.door.apply(task_id, Event("cancel", "bench", "asked")).ok
            case lifecycle.EXPIRED:
                assert self.door.apply(task_id, Event("expire", "bench", "too old")).ok
        assert self.store.read(task_id).state == state

    def forget_agents(self) -> None:
        """Let no worker declare anything any more."""
        self.store.client.hset(keys.owner(self.owner), mapping={"agents": "", "versions": ""})
