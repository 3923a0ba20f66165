"""What must hold of one task at every instant: rules over a view of everything that Redis holds of it.

Pure. Each rule reads the view and yields a sentence for each contradiction; `check` runs them all. The simulator asks
after every step, `proofq audit` on request. docs/invariants.md describes the rules in words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from proofq.policies.audit_view import Crumb, View, Violation
from proofq.policies.lifecycle import (
    CLAIMED_DONE,
    DEFERRED,
    EXPIRED,
    FAILED,
    FIELDS,
    HELD,
    LEASED,
    NUMBERS,
    OWNED,
    QUARANTINED,
    QUEUED,
    REPLAYS,
    RQ_STATUS,
    RUNNING,
    STATES,
    SUCCESS,
    TERMINAL,
    UNCOUNTED_PICKUPS,
    VERIFIED,
    WAITING,
    is_refused,
    next_state,
)

Rule = Callable[[View], Iterator[str]]

#: Fields that a task must carry in these states; FIELDS says where each may stand at all.
_NEEDED: Final[Mapping[str, frozenset[str]]] = {
    "fence": OWNED,
    "owner": OWNED,
    "slot": OWNED,
    "started_at": frozenset({RUNNING, CLAIMED_DONE}),
    "claim": frozenset({CLAIMED_DONE}),
    "not_before": frozenset({DEFERRED}),
    "failure": frozenset({HELD, FAILED, QUARANTINED, EXPIRED}),
    "verdict": frozenset({VERIFIED}),
    "ended_at": TERMINAL,
}
#: How a task comes to be deferred without a failure.
_PLAIN: Final = frozenset({"enqueue_later", "adopt_later", "enqueue_after", "met", "replay_after"})
_OUTCOMES: Final = frozenset({"verified", "unverified", "cannot_tell", "failed", "lost", "given_back", "cancelled"})


def _moves(view: View) -> Iterator[Crumb]:
    return (crumb for crumb in view.crumbs if not is_refused(crumb.event) and crumb.event != "mend")


def _since_replay(view: View) -> list[Crumb]:
    """The moves since the last replay, which begins a task's counters anew; that replay first."""
    moves = list(_moves(view))
    for index in range(len(moves) - 1, -1, -1):
        if moves[index].event in REPLAYS:
            return moves[index:]
    return moves


# --- the breadcrumbs -------------------------------------------------------------------------------------------------


def _chain(view: View) -> Iterator[str]:
    if not view.crumbs:
        yield "it has no breadcrumbs"
    before: str | None = None
    for index, crumb in enumerate(view.crumbs):
        if crumb.source != before:
            yield f"breadcrumb {index} ({crumb.event}) comes from {crumb.source}, the one before led to {before}"
        before = crumb.to


def _legal(view: View) -> Iterator[str]:
    for index, crumb in enumerate(view.crumbs):
        if is_refused(crumb.event):
            if crumb.source != crumb.to:
                yield f"breadcrumb {index} ({crumb.event}) is a refusal that moved {crumb.source} to {crumb.to}"
        elif next_state(crumb.source, crumb.event) != crumb.to:
            yield f"breadcrumb {index}: the table has no {crumb.event} from {crumb.source} to {crumb.to}"


def _fold(view: View) -> Iterator[str]:
    if view.state not in STATES:
        yield f"{view.state!r} is no state"
    elif view.crumbs and view.crumbs[-1].to != view.state:
        yield f"its breadcrumbs lead to {view.crumbs[-1].to}, its state is {view.state}"


def _settled_once(view: View) -> Iterator[str]:
    ends = 0
    for crumb in _moves(view):
        if crumb.event in REPLAYS:
            ends = 0
        elif crumb.to in TERMINAL:
            ends += 1
            if ends > 1:
                yield f"{crumb.event} ended it a second time without a replay between"
    if view.state in TERMINAL and ends != 1:
        yield f"it is {view.state}, and {ends} breadcrumbs say that it ended"


def _claimed_once(view: View) -> Iterator[str]:
    for crumb in _moves(view):
        if crumb.source == CLAIMED_DONE and crumb.to == QUEUED:
            yield f"{crumb.event} runs it again although its work was claimed and no proof has spoken"


# --- attempts, fences, counters --------------------------------------------------------------------------------------


def _fences(view: View) -> Iterator[str]:
    seen: set[str] = set()
    current = ""
    for crumb in view.crumbs:
        if crumb.event not in {"lease", "reap"}:
            continue
        current = crumb.fence
        if not current or current in seen:
            yield f"fence {current!r} was given twice"
        seen.add(current)
    if view.state in OWNED and view.row.get("fence") != current:
        yield f"its fence is {view.row.get('fence')}, the last one given is {current}"


def _attempts(view: View) -> Iterator[str]:
    leased = [crumb for crumb in view.crumbs if crumb.event == "lease"]
    begun = view.number("attempt")
    if begun != len(leased):
        yield f"attempt is {begun}, it was leased {len(leased)} times"
    if [record.get("n") for record in view.attempts] != list(range(1, len(leased) + 1)):
        yield f"{len(view.attempts)} records of attempts for {len(leased)} leases"
        return
    for crumb, record in zip(leased, view.attempts, strict=True):
        if record.get("fence") != crumb.fence:
            yield f"attempt {record.get('n')} has fence {record.get('fence')}, it was leased under {crumb.fence}"


def _open_attempt(view: View) -> Iterator[str]:
    for index, record in enumerate(view.attempts):
        is_open = view.state in OWNED and index == len(view.attempts) - 1
        ended = record.get("ended_at") is not None
        if ended == is_open:
            yield f"attempt {record.get('n')} {'ended' if ended else 'is open'} while the task is {view.state}"
        if ended and record.get("outcome") not in _OUTCOMES:
            yield f"attempt {record.get('n')} ended as {record.get('outcome')}"


def _counted(view: View) -> Iterator[str]:
    since = _since_replay(view)
    before = since[0].attempt if since and since[0].event in REPLAYS else 0
    failed = [record for record in view.attempts if record.get("counted") and record.get("n", 0) > before]
    counted, most = view.number("counted"), view.number("max_attempts")
    if counted != len(failed):
        yield f"counted is {counted}, {len(failed)} of its attempts say that they count"
    if counted is None or most is None or counted > most:
        yield f"{counted} counted attempts, max_attempts is {most}"


def _pickups(view: View) -> Iterator[str]:
    pickups = 0
    for crumb in view.crumbs:
        if crumb.event == "lease":
            pickups += 1
        elif crumb.source == LEASED and crumb.event in UNCOUNTED_PICKUPS:
            pickups = max(0, pickups - 1)
        elif crumb.event in REPLAYS | {"start"}:
            pickups = 0
    if (view.number("pickups") or 0) != pickups:
        yield f"pickups is {view.row.get('pickups')}, it was leased {pickups} times since its last start"


def _deaths(view: View) -> Iterator[str]:
    since = _since_replay(view)
    reaped = sum(crumb.event == "reap" for crumb in since)
    ended = sum(crumb.source in OWNED and crumb.to not in OWNED for crumb in since)
    deaths = view.number("deaths") or 0
    if deaths > reaped + ended:
        yield f"{deaths:g} deaths, but only {reaped} takeovers and {ended} ends of attempts"


# --- fields ----------------------------------------------------------------------------------------------------------


def _stale_fields(view: View) -> Iterator[str]:
    for name, states in FIELDS.items():
        if name in view.row and view.state not in states:
            yield f"{name} stands although the task is {view.state}"


def _missing_fields(view: View) -> Iterator[str]:
    for name, states in _NEEDED.items():
        if view.state in states and not view.row.get(name) and not (name == "not_before" and _waits_for(view)):
            yield f"{name} is missing although the task is {view.state}"
    last = next(reversed(list(_moves(view))), None)
    if view.state == DEFERRED and last is not None and last.event not in _PLAIN and not view.row.get("failure"):
        yield f"it was deferred by {last.event} without a failure that says why"


def _waits_for(view: View) -> list[str]:
    """The tasks that must end in success before it may be queued."""
    return _ids(view, "after_open") if view.state == DEFERRED else []


def _ids(view: View, name: str) -> list[str]:
    try:
        ids = json.loads(view.row.get(name, "[]"))
    except ValueError:
        ids = None
    return [str(one) for one in ids] if isinstance(ids, list) else [f"{name}?"]


def _after(view: View) -> Iterator[str]:
    asked, left = _ids(view, "after"), _ids(view, "after_open")
    if "after_open" in view.row and not left:
        yield "it waits for tasks, but for none of them"
    if strangers := [one for one in left if one not in asked]:
        yield f"it waits for {strangers}, which it was not asked to"
    if view.id in asked:
        yield "it waits for itself"
    if left and any(crumb.event == "lease" for crumb in _since_replay(view)):
        yield f"it was leased although {left} had not ended"


# --- who holds it, and the lists of ours -----------------------------------------------------------------------------


def _lease(view: View) -> Iterator[str]:
    if view.state not in OWNED:
        return
    if view.lease is None:
        yield f"owner {view.row.get('owner')} holds no lease of it"
    elif view.lease != view.row.get("fence"):
        yield f"owner {view.row.get('owner')} holds it under {view.lease}, its fence is {view.row.get('fence')}"
    if not view.owner_known:
        yield f"its owner {view.row.get('owner')} is unknown: nobody would ever take it over"


def _counted_as(view: View) -> Iterator[str]:
    if view.counted != NUMBERS.get(view.state):
        names = {number: state for state, number in NUMBERS.items()}
        where = "not counted" if view.counted is None else f"counted as {names.get(int(view.counted), view.counted)}"
        yield f"it is {where} although it is {view.state}"


def _ended_as(view: View) -> Iterator[str]:
    wanted = {view.state: view.number("ended_at")} if view.state in TERMINAL else {}
    if dict(view.ended) != wanted:
        yield f"the lists of ends say {dict(view.ended)}, that should be {wanted}"


def _lists(view: View) -> Iterator[str]:
    wanted = {
        "tasks": (view.listed, "enqueued_at", True),
        "ages": (view.expires, "expires_at", view.state in WAITING),
        "due": (view.due, "not_before", view.state == DEFERRED and not _waits_for(view)),
    }
    for name, (score, source, member) in wanted.items():
        if not member and score is not None:
            yield f"it is in {name} although it is {view.state}"
        elif member and score is None:
            yield f"it is not in {name} although it is {view.state}"
        elif member and score != view.number(source):
            yield f"{name} says {score}, its {source} is {view.row.get(source)}"


# --- RQ's view -------------------------------------------------------------------------------------------------------


def _rq_job(view: View) -> Iterator[str]:
    if view.job is None:
        yield "RQ's job hash is missing"
        return
    wanted = RQ_STATUS.get(view.state)
    if view.job.get("status") != wanted:
        yield f"RQ's status is {view.job.get('status')}, {view.state} is {wanted}"
    blank = {"started": ["ended_at"], "queued": ["started_at", "ended_at", "worker_name"]}
    blank["deferred"] = blank["queued"]
    for name in blank.get(str(wanted), []):
        if view.job.get(name):
            yield f"RQ's {name} stands although the task is {view.state}"
    if view.state in TERMINAL and not view.job.get("ended_at"):
        yield f"RQ's ended_at is missing although the task is {view.state}"


def _rq_place(view: View) -> Iterator[str]:
    status = RQ_STATUS.get(view.state)
    if view.in_queue != (status == "queued"):
        yield f"it stands {view.in_queue} times in its queue although it is {view.state}"
    if set(view.registries) != ({status} - {"queued", "started"}):
        yield f"it is in RQ's registries {sorted(view.registries)} although it is {view.state}"
    fences = [view.row.get("fence")] if status == "started" else []
    if list(view.started) != fences:
        yield f"it is in RQ's started registry under {list(view.started)}, that should be {fences}"


def _rq_result(view: View) -> Iterator[str]:
    wanted = []
    if view.state in TERMINAL:
        wanted = ["successful" if view.state in SUCCESS else "failed"]
    if list(view.results) != wanted:
        yield f"RQ's results are {list(view.results)} although it is {view.state}"


#: Every rule about one task: name -> (what must hold, rule). The first to be broken is most often the cause.
RULES: Final[Mapping[str, tuple[str, Rule]]] = {
    "crumb_chain": ("each breadcrumb comes from where the one before led, the first from nothing", _chain),
    "crumb_legal": ("each breadcrumb is a move of the table, or a refusal that moved nothing", _legal),
    "crumb_fold": ("the breadcrumbs lead to the stored state, which is one of the twelve", _fold),
    "settled_once": ("exactly one breadcrumb enters a terminal state without a replay between", _settled_once),
    "claim_judged": (
        "claimed work is judged by its proofs, never queued again because its owner went",
        _claimed_once,
    ),
    "fence_unique": ("no fence is given twice, and the task carries the last one given while it is owned", _fences),
    "attempt_records": ("one record per lease, under the fence it was leased with", _attempts),
    "attempt_open": (
        "only the last attempt of an owned task is open; the others have an end and an outcome",
        _open_attempt,
    ),
    "counted_bound": ("counted attempts are those whose record says so, and never more than max_attempts", _counted),
    "pickups": ("pickups are the leases since the last confirmed start that led nowhere", _pickups),
    "deaths": ("deaths are never more than takeovers and ends of attempts", _deaths),
    "stale_field": ("no field stands in a state that must not carry it", _stale_fields),
    "missing_field": ("every field that explains the state is there", _missing_fields),
    "after": ("it waits for nothing but what it was asked to, and never ran before that ended in success", _after),
    "lease_agrees": ("the owner that an owned task names holds its lease under its fence, and can be reaped", _lease),
    "lists": ("tasks, ages and due hold exactly the tasks they should, at the right time", _lists),
    "ended_as": ("an ended task stands in the list of its state's ends, at the time of its own", _ended_as),
    "counted_as": ("its lane counts it once, under the state it is in", _counted_as),
    "rq_job": ("RQ's job hash is there, its status is map(state), and nothing of a past attempt stands", _rq_job),
    "rq_place": ("the id is in exactly one place of RQ's: its queue once, or the registry of its status", _rq_place),
    "rq_result": ("a terminal task has one RQ result, of the right type; any other has none", _rq_result),
}

#: Rules about views (RQ's, the counts by state), which a stranger's key can disturb without disturbing a task.
VIEW_RULES: Final = frozenset({"counted_as", "ended_as", "rq_job", "rq_place", "rq_result"})


def check(view: View) -> list[Violation]:
    """Every contradiction in what Redis holds of one task; empty when all is well."""
    return [Violation(name, view.id, detail) for name, (_, rule) in RULES.items() for detail in rule(view)]
