"""The store and the door on a bare Redis, and every request that writes: no process, no project, no agent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import redis

from proofq.policies.failure import Failure
from proofq.policies.lifecycle import DEFERRED, QUEUED
from proofq.policies.settlement import Limits
from proofq.workers import keys, rq_view
from proofq.workers.clock import SystemClock
from proofq.workers.door import Door, Event, Settled
from proofq.workers.leasing import Wish, no_wish
from proofq.workers.record import Lease
from proofq.workers.scripts import RedisRunner
from proofq.workers.store import Birth, Store
from tests.asked import ASKED
from tests.capped_settlement import CAPPED
from tests.recorder import Recorder

AGENT: Final = "a"
QUEUE: Final = keys.queue_of("work", AGENT)
HOST: Final = "host-id"
ISOLATION_MS: Final = 600_000
VERDICT: Final = {"outcome": "verified", "proofs": []}

GiveUp = Callable[[], bool]


def at_once() -> bool:
    """The first error is raised."""
    return True


def birth(
    name: str, *, later_ms: int | None = None, key: str = "", digest: str = "d", after: Sequence[str] = ()
) -> Birth:
    """A task of the one agent; deferred when `later_ms` (epoch milliseconds) or `after` is given."""
    state = QUEUED if later_ms is None and not after else DEFERRED
    return Birth(
        id=name,
        queue=QUEUE,
        state=state,
        event="enqueue_after" if after else "enqueue" if later_ms is None else "enqueue_later",
        who="test",
        fields={
            "agent": AGENT,
            "lane": "work",
            "inputs": '{"x":1}',
            "max_age_s": "900.0",
            "attempt": "0",
            "counted": "0",
            "max_attempts": "3",
            **({"after": rq_view.compact(list(after))} if after else {}),
        },
        job=rq_view.job_fields(AGENT, QUEUE, state, {"x": 1}, 60, datetime.now(UTC)),
        max_age_ms=900_000,
        not_before_ms=later_ms,
        key=keys.key(AGENT, key) if key else "",
        digest=digest if key else "",
        unique_ms=60_000,
        after=after,
    )


class Heart:
    """Store and door on one client; owners are enlisted as they are named."""

    def __init__(self, client: redis.Redis, *, own_connections: bool = False) -> None:
        self.client: Any = client
        self.runner = Recorder(RedisRunner(client, own_connections=own_connections))
        self.clock = SystemClock()
        self.store = Store(client, self.runner, self.clock)
        self.door = Door(self.store, Limits())

    def enlist(self, *owners: str) -> None:
        for owner in owners:
            self.store.enlist(owner, HOST, ISOLATION_MS, {"id": owner, "agents": AGENT})

    def lease(self, owner: str = "o", slot: str = "0", request: str = "", queues: Sequence[str] = ()) -> Lease | None:
        """The next task; None when there is none."""
        return self.store.lease(self.wish(owner, slot, request, queues))

    def wish(self, owner: str = "o", slot: str = "0", request: str = "", queues: Sequence[str] = ()) -> Wish:
        return Wish(owner, slot, request or self.clock.token(), queues or [QUEUE], "worker", "host")

    def held(self, owner: str = "o") -> Lease:
        """The next task, which must be there."""
        lease = self.lease(owner)
        assert lease is not None
        return lease

    def settled(
        self,
        lease: Lease,
        event: Event,
        give_up: GiveUp = at_once,
        wish: Callable[[], Wish | None] = no_wish,
        before: Sequence[Event] = (),
    ) -> Settled:
        """An event that must be accepted."""
        settled = self.door.settle(lease, event, give_up, wish, before)
        assert settled.ok, settled
        return settled

    def running(self, owner: str = "o") -> Lease:
        started = self.settled(self.held(owner), START).lease
        assert started is not None
        return started

    def claimed(self, owner: str = "o") -> Lease:
        lease = self.settled(self.running(owner), CLAIM).lease
        assert lease is not None
        return lease

    def dump(self) -> dict[bytes, bytes]:
        """Everything Redis holds, key by key."""
        return {key: self.client.dump(key) for key in self.client.keys("*")}

    def events(self, task_id: str = "t") -> list[str]:
        return [crumb.event for crumb in self.store.peek(task_id).crumbs]


START: Final = Event("start", "worker", fields={"pid": 1, "start_ticks": 1})
CLAIM: Final = Event("claim", "worker", claim="done")
LOST: Final = Event("lost", "worker", failure=Failure("lost_worker", "gone"))

Act = Callable[[GiveUp], Any]


@dataclass(frozen=True)
class Request:
    """One request that writes. `ready` brings a fresh Redis to just before it and gives the act; `ours` and `view`
    are the keys it touches, ours and those of RQ's that are only shown; `state` is where task t stands afterwards and
    `event` its newest breadcrumb ('' = the request moves no task)."""

    name: str
    ready: Callable[[Heart], Act]
    ours: tuple[str, ...]
    view: tuple[str, ...] = ()
    state: str = ""
    event: str = ""

    def __str__(self) -> str:
        return self.name


def _enqueue(heart: Heart) -> Act:
    return lambda _: heart.store.enqueue(birth("t", key="k"))


def _enqueue_later(heart: Heart) -> Act:
    later = heart.client.time()[0] * 1000 + 60_000
    return lambda _: heart.store.enqueue(birth("t", later_ms=later))


def _enqueue_after(heart: Heart) -> Act:
    heart.store.enqueue(birth("p"))
    return lambda _: heart.store.enqueue(birth("t", after=["p"]))


def _verify_followed(heart: Heart) -> Act:
    _queued(heart)
    heart.store.enqueue(birth("f", after=["t"]))
    lease = heart.claimed()
    return lambda give_up: heart.settled(lease, Event("verify", "worker", verdict=VERDICT), give_up)


def _verify_and_lease(heart: Heart) -> Act:
    _queued(heart)
    heart.store.enqueue(birth("u"))
    lease, wish = heart.claimed(), heart.wish(request="r1")
    return lambda give_up: heart.settled(lease, Event("verify", "worker", verdict=VERDICT), give_up, lambda: wish)


def _verify_at_once(heart: Heart) -> Act:
    _queued(heart)
    lease, verify = heart.held(), Event("verify", "worker", verdict=VERDICT)
    return lambda give_up: heart.settled(lease, verify, give_up, before=(START, CLAIM))


def _follow(heart: Heart) -> Act:
    heart.enlist("o")
    heart.store.enqueue(birth("p"))
    heart.store.enqueue(birth("t", after=["p"]))
    heart.client.rename(keys.followers("p"), "aside")
    heart.settled(heart.claimed(), Event("verify", "worker", verdict=VERDICT))
    heart.client.rename("aside", keys.followers("p"))
    heart.client.zadd(keys.FOLLOWING, {"p": 1})
    return lambda _: heart.store.call("follow", "p", 100, "2026-01-01T00:00:00Z", "worker", "[]", "[]")


def _lease(heart: Heart) -> Act:
    _queued(heart)
    return lambda _: heart.lease(request="r1")


def _beat(heart: Heart) -> Act:
    _queued(heart)
    heart.held()
    return lambda _: heart.store.beat("o", ISOLATION_MS)


def _reap(heart: Heart) -> Act:
    _queued(heart)
    task = heart.running().task
    heart.store.bury("o", HOST, {"dead": "1"})
    heart.enlist("r")
    return lambda _: heart.store.reap(
        task, "o", "r", slot="reaper", request="r2", death=True, reason="dead", who="reaper"
    )


def _restore(heart: Heart) -> Act:
    _queued(heart)
    heart.client.rename(keys.crumbs("t"), "aside")
    heart.client.set(keys.crumbs("t"), "stranger")
    assert heart.lease() is None
    heart.client.rename("aside", keys.crumbs("t"))
    return lambda _: heart.store.restore("t")


def _queued(heart: Heart) -> None:
    heart.enlist("o")
    heart.store.enqueue(birth("t"))


def _owner(verb: str) -> Callable[[Heart], Act]:
    def ready(heart: Heart) -> Act:
        if verb != "enlist":
            heart.enlist("o")
        if verb == "condemn":
            heart.client.zadd(keys.OWNERS, {"o": 1})
        if verb == "forget":
            heart.store.enqueue(birth("t"))
            heart.settled(heart.held(), Event("give_back", "worker", "drains"))
            heart.store.bury("o", HOST, {"dead": "1"})
        acts: dict[str, Act] = {
            "enlist": lambda _: heart.enlist("o"),
            "describe": lambda _: heart.store.describe("o", HOST, {"state": "draining"}),
            "bury": lambda _: heart.store.bury("o", HOST, {"dead": "1"}),
            "condemn": lambda _: heart.store.condemn("o", HOST, {"dead": "1"}),
            "drain": lambda _: heart.store.call("owner", "drain", "o", HOST, 0, '{"drain":"somebody"}'),
            "forget": lambda _: heart.store.forget("o", HOST),
        }
        return acts[verb]

    return ready


def _turn(verb: str) -> Callable[[Heart], Act]:
    def turned(heart: Heart) -> Act:
        if verb == "resume":
            heart.store.call("pause", "pause", AGENT, "test")
        return lambda _: heart.store.call("pause", verb, AGENT, "test")

    return turned


def _leased(event: Event, stage: str) -> Callable[[Heart], Act]:
    def ready(heart: Heart) -> Act:
        _queued(heart)
        lease = {"leased": heart.held, "running": heart.running, "claimed_done": heart.claimed}[stage]()
        return lambda give_up: heart.settled(lease, event, give_up)

    return ready


def _unleased(event: Event, stage: str) -> Callable[[Heart], Act]:
    def ready(heart: Heart) -> Act:
        _queued(heart)
        if stage == "running":
            heart.running()
        elif stage == "failed":
            heart.settled(heart.running(), _failed("timeout"))
        elif stage == "deferred":
            heart.settled(heart.running(), _failed("network"))
        return lambda give_up: heart.door.apply("t", event, give_up)

    return ready


def _failed(kind: str) -> Event:
    return Event("failed", "worker", failure=Failure(kind, "for a reason", fingerprint="f"))


_T: Final = (keys.task("t"), keys.crumbs("t"))
_ROWS: Final = (*_T, keys.attempts("t"))
_JOB: Final = (keys.rq_job("t"),)
_OF_OWNER: Final = (keys.OWNERS, keys.owner("o"), keys.leases("o"), keys.host(HOST))
_SETTLE: Final = (*_ROWS, keys.DUE, keys.AGES, keys.OWNERS)
_HOLDER: Final = (*_SETTLE, keys.leases("o"))
#: Views that every move touches.
_MOVED: Final = (*_JOB, keys.states("work"))
_STARTED: Final = (*_MOVED, keys.rq_registry("started", QUEUE))
_QUEUED: Final = (keys.rq_queue(QUEUE), keys.RQ_QUEUES)
_BORN: Final = (
    *_ROWS, *_JOB, *_QUEUED, keys.rq_registry("deferred", QUEUE), keys.TASKS, keys.AGES, keys.DUE, keys.LAYOUT,
)  # fmt: skip
_ENDED: Final = keys.rq_results("t")


def _registry(status: str) -> str:
    return keys.rq_registry(status, QUEUE)


#: Every request that writes, in the order of a task's life.
REQUESTS: Final = (
    Request("enqueue", _enqueue, (*_BORN, keys.key(AGENT, "k")), (keys.states("work"),), "queued", "enqueue"),
    Request("enqueue_later", _enqueue_later, _BORN, (keys.states("work"),), "deferred", "enqueue_later"),
    Request(
        "enqueue_after", _enqueue_after, (*_BORN, keys.task("p"), keys.followers("p")), (keys.states("work"),),
        "deferred", "enqueue_after",
    ),
    Request(
        "follow", _follow,
        (keys.task("p"), keys.followers("p"), keys.FOLLOWING, keys.OWNERS, keys.DUE, keys.AGES),
        (*_JOB, keys.states("work"), _registry("deferred"), *_QUEUED), "queued", "release",
    ),
    Request(
        "verify_followed", _verify_followed,
        (*_HOLDER, keys.followers("t"), keys.FOLLOWING),
        (*_STARTED, _registry("finished"), _ENDED, keys.ended("verified")),
        "verified", "verify",
    ),
    Request(
        "verify_and_lease", _verify_and_lease, _HOLDER,
        (*_STARTED, _registry("finished"), _ENDED, keys.GRANTS + "o", keys.STRAYS, keys.PAUSED), "verified", "verify",
    ),
    Request(*CAPPED),
    Request(
        "lease", _lease,
        (keys.OWNERS, keys.leases("o"), keys.GRANTS + "o", keys.AGES, keys.STRAYS, keys.PAUSED),
        _STARTED, "leased", "lease",
    ),
    Request("beat", _beat, (keys.OWNERS, keys.leases("o"))),
    Request("start", _leased(START, "leased"), _HOLDER[:-1], _MOVED, "running", "start"),
    Request("claim", _leased(CLAIM, "running"), _HOLDER[:-1], _MOVED, "claimed_done", "claim"),
    Request(
        "verify", _leased(Event("verify", "worker", verdict=VERDICT), "claimed_done"),
        _HOLDER, (*_STARTED, _registry("finished"), _ENDED, keys.ended("verified")), "verified", "verify",
    ),
    Request(
        "verify_at_once", _verify_at_once,
        _HOLDER, (*_STARTED, _registry("finished"), _ENDED, keys.ended("verified")), "verified", "verify",
    ),
    Request(
        "fail", _leased(_failed("timeout"), "running"),
        _HOLDER, (*_STARTED, _registry("failed"), _ENDED, keys.ended("failed")), "failed", "fail",
    ),
    Request(
        "retry", _leased(_failed("network"), "running"),
        _HOLDER, (*_STARTED, _registry("deferred")), "deferred", "retry",
    ),
    Request("hold", _leased(_failed("auth"), "running"), _HOLDER, (*_STARTED, _registry("deferred")), "held", "hold"),
    Request("requeue", _leased(LOST, "running"), _HOLDER, (*_STARTED, *_QUEUED), "queued", "requeue"),
    Request(
        "give_back", _leased(Event("give_back", "worker", "drains"), "leased"),
        _HOLDER, (*_STARTED, *_QUEUED), "queued", "give_back",
    ),
    Request(
        "cancel_held", _leased(Event("cancel", "worker", "asked"), "running"),
        _HOLDER, (*_STARTED, _registry("canceled"), _ENDED, keys.ended("cancelled")), "cancelled", "cancel",
    ),
    Request(
        "cancel_queued", _unleased(Event("cancel", "test", "asked"), "queued"),
        _SETTLE, (*_MOVED, keys.rq_queue(QUEUE), _registry("canceled"), _ENDED, keys.ended("cancelled")),
        "cancelled", "cancel",
    ),
    Request("ask_cancel", _unleased(Event("cancel", "test"), "running"), _SETTLE, _JOB, "running", "ask_cancel"),
    Request(
        "due", _unleased(Event("due", "test"), "deferred"),
        _SETTLE, (*_MOVED, _registry("deferred"), *_QUEUED), "queued", "due",
    ),
    Request(
        "expire", _unleased(Event("expire", "test"), "deferred"),
        _SETTLE, (*_MOVED, _registry("deferred"), _registry("failed"), _ENDED, keys.ended("expired")),
        "expired", "expire",
    ),
    Request(
        "replay", _unleased(Event("replay", "test"), "failed"),
        _SETTLE, (*_MOVED, _registry("failed"), _ENDED, *_QUEUED), "queued", "replay",
    ),
    Request("reap", _reap, (*_T, keys.OWNERS, keys.leases("o"), keys.leases("r")), _STARTED, "running", "reap"),
    Request("restore", _restore, (*_ROWS, keys.OWNERS, keys.STRAYS), (keys.RQ_QUEUES,), "queued", "enqueue"),
    Request("enlist", _owner("enlist"), (*_OF_OWNER, keys.LAYOUT, keys.TASKS)),
    Request("describe", _owner("describe"), _OF_OWNER),
    Request("bury", _owner("bury"), _OF_OWNER),
    Request("drain", _owner("drain"), _OF_OWNER),
    Request("pause", _turn("pause"), (keys.PAUSED,)),
    Request("resume", _turn("resume"), (keys.PAUSED,)),
    *(Request(*one) for one in ASKED),
    Request("condemn", _owner("condemn"), _OF_OWNER),
    Request("forget", _owner("forget"), (*_OF_OWNER, keys.GRANTS + "o")),
)  # fmt: skip
