"""Every Redis key: its name, type, who writes it, and how long it lives. No other file spells a key.

Ours start with ``proofq:``; RQ's keep RQ's names (rq 2.12), since people who only know RQ look there. The Lua scripts
get the same names, put in by `script_text`.
"""

from __future__ import annotations

from typing import Final

PREFIX: Final = "proofq:"

#: hash, one per task: its current fields. Written by enqueue, lease, settle, reap. Kept until purged. Of a task that
#: ended in success its breadcrumbs and attempts stand in it, packed: see lua/keeping.lua.
TASK: Final = PREFIX + "task:"
#: list of JSON arrays, one per transition, oldest first; see `record.Breadcrumb`.
CRUMBS: Final = PREFIX + "crumbs:"
#: hash attempt number -> JSON object, one per attempt begun.
ATTEMPTS: Final = PREFIX + "attempts:"
#: zset task id -> enqueued_at ms: every task there is.
TASKS: Final = PREFIX + "tasks"
#: zset task id -> not_before ms: the deferred.
DUE: Final = PREFIX + "due"
#: zset task id -> expires_at ms: every task in a waiting state.
AGES: Final = PREFIX + "ages"
#: zset per lane, task id -> number of its state (`lifecycle.NUMBERS`): how many tasks are where, without reading them.
#: A view like RQ's: one of a wrong type stops nothing, and the audit compares it with each task.
STATES: Final = PREFIX + "states:"
#: zset per terminal state, task id -> ended_at ms: what retention goes by. A view like `STATES`.
ENDED: Final = PREFIX + "ended:"
#: list of ids, one per task that others wait for: who waits, in the order of their enqueueing. Gone once all were told.
FOLLOWERS: Final = PREFIX + "followers:"
#: zset task id -> ended_at ms: ended tasks whose followers have not all been told; a reaper tells them.
FOLLOWING: Final = PREFIX + "following"
#: zset owner -> ms at which it counts as silent (last beat + its isolation); 0 = known dead.
OWNERS: Final = PREFIX + "owners"
#: hash, one per owner (a supervisor's incarnation): host, pids, lane, slots, state.
OWNER: Final = PREFIX + "owner:"
#: hash task id -> fence: what this owner holds.
LEASES: Final = PREFIX + "leases:"
#: hash slot -> "request id task id fence": the last grant of each slot, so that a re-sent lease returns the same one.
GRANTS: Final = PREFIX + "grants:"
#: set of owners on one host (host name, boot and pid namespace).
HOST: Final = PREFIX + "host:"
#: hash: one idempotency key of one agent -> task id, digest of the inputs, until when it holds.
KEY: Final = PREFIX + "key:"
#: hash agent -> JSON catalogue entry with the time it was published.
CATALOGUE: Final = PREFIX + "catalogue"
#: hash id -> JSON {queue, reason, at}: ids found in a queue that are no task of ours, taken out and kept here.
STRAYS: Final = PREFIX + "strays"
#: hash agent -> JSON {at, who}: agents whose tasks are not leased until somebody resumes them. Absent where none is.
PAUSED: Final = PREFIX + "paused"
#: hash "agent version" -> second at which a worker last said that it declares this version of it.
VERSIONS: Final = PREFIX + "versions"
#: hash key -> JSON {at, fence, rid, done_at, outcome, who}, per task: what `ctx.once` has begun and done. Dies with it.
EFFECTS: Final = PREFIX + "effects:"
#: zset "task id key" -> ms: effects that were begun and whose outcome is not on record.
UNCONFIRMED: Final = PREFIX + "unconfirmed"
#: hash, one per provider and key (its fingerprint): whether anything may be sent; see `policies.gate`, gates.lua.
GATE: Final = PREFIX + "gate:"
#: list of JSON arrays, one per move of a gate, oldest first, the newest 200.
GATE_CRUMBS: Final = PREFIX + "gate-crumbs:"
#: zset gate -> ms at which a worker last said that it has this key. Gates that nobody names are forgotten.
GATES: Final = PREFIX + "gates"
#: zset per cap ("agent:<name>", "provider:<name>"), task id -> ms of its lease: all that is leased under it, at least
#: (see lua/caps.lua); beside them marks with score 0.
RUNNING: Final = PREFIX + "running:"
#: list per cap, ms: the newest starts under it, as many as its rate lets begin. Forgotten long after its time.
STARTS: Final = PREFIX + "starts:"
#: hash queue -> the tag of its turns, "=" and queue -> what an attempt took, lane -> the tag that was served last; see
#: lua/turns.lua. Absent where workers declare one agent each.
TURNS: Final = PREFIX + "turns"
#: hash provider -> JSON {at, who, reason}: providers that are isolated whatever the key. Absent where none is.
ISOLATED: Final = PREFIX + "isolated"
#: hash per budget's window ("agent:<name>:<window>", "provider:…"): dimension -> whole number spent; `first`: who finds
#: out what an attempt costs. Forgotten some time after its window (`budget.KEPT_S`).
SPENT: Final = PREFIX + "spent:"
#: hash "owner name per" -> JSON {key, owner, name, per, window, limit}: the newest window of each in which an attempt
#: has begun. One row a budget, however many windows there were.
BUDGETS: Final = PREFIX + "budgets"
#: hash agent's dimension -> whole number: the most that an attempt of it has used.
DEAREST: Final = PREFIX + "dearest:"
#: hash per day, "agent class dimension" -> whole number spent; class `open` while the attempt runs. Kept 100 days.
LEDGER: Final = PREFIX + "ledger:"
#: hash: major and minor of the layout (`policies.layout`), the release and the time of who began with that major.
LAYOUT: Final = PREFIX + "layout"
#: hash, one per incident: a cause that hit one task or many. See `lua/incidents.lua`; bounded there.
INCIDENT: Final = PREFIX + "incident:"
#: hash cause -> id of its newest incident.
CAUSES: Final = PREFIX + "causes"
#: zset incident -> ms of its last failure: those with too few of them so far, and those that have opened.
SEEN: Final = PREFIX + "incidents:seen"
INCIDENTS: Final = PREFIX + "incidents"
#: zset incident -> ms at which somebody is to be told of it.
ALERTS: Final = PREFIX + "alerts"
#: pub/sub channel: a queue name when a task becomes ready, an owner when a lease of its should be looked at.
BELL: Final = PREFIX + "bell"

#: RQ's own.
RQ_JOB: Final = "rq:job:"
RQ_QUEUE: Final = "rq:queue:"
RQ_QUEUES: Final = "rq:queues"
RQ_RESULTS: Final = "rq:results:"
RQ_STARTED: Final = "rq:wip:"
RQ_FINISHED: Final = "rq:finished:"
RQ_FAILED: Final = "rq:failed:"
RQ_DEFERRED: Final = "rq:deferred:"
RQ_CANCELED: Final = "rq:canceled:"
RQ_SCHEDULED: Final = "rq:scheduled:"
#: string: while it exists RQ's workers, and ours, take nothing (`rq suspend`, `rq resume`); it may expire.
RQ_SUSPENDED: Final = "rq:suspended"
#: set of the keys of all workers, one of those of each queue, and a hash per worker: each of our slots is one.
RQ_WORKERS: Final = "rq:workers"
RQ_WORKERS_OF: Final = "rq:workers:"
RQ_WORKER: Final = "rq:worker:"
#: pub/sub channel, one per worker: commands to it.
RQ_COMMANDS: Final = "rq:pubsub:"
#: The slot under which a lease stands that was taken over.
REAPER_SLOT: Final = "reaper"

#: RQ's registry (a zset per queue) of each RQ status that has one.
RQ_REGISTRY: Final[dict[str, str]] = {
    "started": RQ_STARTED,
    "deferred": RQ_DEFERRED,
    "finished": RQ_FINISHED,
    "failed": RQ_FAILED,
    "canceled": RQ_CANCELED,
}
#: Where RQ keeps jobs until later, by what it calls them there. Nothing of ours is ever scheduled.
RQ_PARKED: Final[dict[str, str]] = {"deferred": RQ_DEFERRED, "scheduled": RQ_SCHEDULED}


def task(task_id: str) -> str:
    return TASK + task_id


def crumbs(task_id: str) -> str:
    return CRUMBS + task_id


def attempts(task_id: str) -> str:
    return ATTEMPTS + task_id


def effects(task_id: str) -> str:
    return EFFECTS + task_id


def spent(owner: str, name: str, window: str) -> str:
    """Of an agent's or a provider's budget."""
    return f"{SPENT}{owner}:{name}:{window}"


def ledger(day: str) -> str:
    return LEDGER + day


def followers(task_id: str) -> str:
    return FOLLOWERS + task_id


def ended(state: str) -> str:
    return ENDED + state


def states(lane: str) -> str:
    return STATES + lane


def owner(owner_id: str) -> str:
    return OWNER + owner_id


def leases(owner_id: str) -> str:
    return LEASES + owner_id


def host(host_id: str) -> str:
    return HOST + host_id


def incident(incident_id: str) -> str:
    return INCIDENT + incident_id


def key(agent: str, digest: str) -> str:
    """`digest`: of the idempotency key, so that any text up to its bound makes a short name."""
    return f"{KEY}{agent}:{digest}"


def gate(name: str) -> str:
    return GATE + name


def running(cap: str) -> str:
    return RUNNING + cap


def starts(cap: str) -> str:
    return STARTS + cap


def gate_crumbs(name: str) -> str:
    return GATE_CRUMBS + name


def rq_job(task_id: str) -> str:
    return RQ_JOB + task_id


def rq_queue(queue: str) -> str:
    return RQ_QUEUE + queue


def rq_results(task_id: str) -> str:
    return RQ_RESULTS + task_id


def rq_registry(status: str, queue: str) -> str:
    """The zset of `queue` for RQ's `status`; KeyError for `queued`, which has none."""
    return RQ_REGISTRY[status] + queue


def rq_worker_name(worker: str, lane: str, slot: str) -> str:
    """A slot as a worker of RQ's; common.lua puts the same together."""
    return f"{worker}.{lane}.{slot}"


def queue_of(lane: str, agent: str) -> str:
    """One RQ queue per agent: ``work.<agent>`` or ``meta.<agent>``."""
    return f"{lane}.{agent}"


def names() -> dict[str, str]:
    """What the scripts know as `K.TASK` and so on."""
    return {name: value for name, value in globals().items() if name.isupper() and isinstance(value, str)}
