"""The one door: whatever changes a task is an event here. Decide → next state by the table → one atomic write.

Nobody else writes a transition but the scripts that pop (lease) and take over (reap). An event the table does not know
is refused and recorded as a breadcrumb; it never changes a task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from proofq.policies import budget, lifecycle, settlement
from proofq.policies.failure import Failure
from proofq.policies.fast_dataclass import fast_dataclass
from proofq.policies.settlement import Decision, Limits
from proofq.workers import rq_view
from proofq.workers.event import Event as Event
from proofq.workers.gate_reports import GateReports
from proofq.workers.insist import insist
from proofq.workers.leasing import Wish, no_wish
from proofq.workers.moves import Step, facts_of, patch_at_end, patch_within, result, stale, step, together
from proofq.workers.plan import NOW
from proofq.workers.record import Lease, Task
from proofq.workers.store import Move, Store, Written

log = logging.getLogger(__name__)

#: Events that need no lease: they act on tasks that nobody holds, or only ask the holder for something.
UNLEASED: Final = frozenset({"cancel", "ask_cancel", "replay", "replay_after", "due", "expire"})
#: Events that the holder of a lease may name, beside `failed` and `lost`. The other ends of an attempt are the policy's
#: to choose, since only it knows their bound and their delay; a reap is a script's.
LEASED: Final = frozenset(
    {"trial", "baseline", "start", "claim", "verify", "finish_unproven", "found", "give_back", "hold", "cancel"}
)
_OF_HOLDERS: Final = LEASED | {"failed", "lost"}
#: Seconds for which a damaged key may keep who settles waiting: a slot that waited for ever would be lost to others.
DAMAGED_S: Final = 30.0


@fast_dataclass(frozen=True)
class Settled:
    """What the door did. `ok`: the event is written; otherwise `state` is where the task stands and `reason` says why
    it was refused. `lease` carries the task's new fields where it is still held; `next` is the task that the slot got
    with the end of this one."""

    ok: bool
    state: str
    event: str
    reason: str = ""
    lease: Lease | None = None
    next: Lease | None = None


class Door:
    """Settles events. `limits` are the bounds of this worker's settings; `on_end` is told of each attempt that ended
    here, and in which state its task is now; `incident_of` says what a failure of an agent adds to its incident, and
    `gates` what an end tells the gate of its provider."""

    def __init__(
        self,
        store: Store,
        limits: Limits,
        on_end: Callable[[Lease, str], None] = lambda _lease, _state: None,
        incident_of: Callable[[Failure, str], Mapping[str, Any]] = lambda _failure, _agent: {},
        gates: GateReports | None = None,
    ) -> None:
        self.store = store
        self.limits = limits
        self._on_end = on_end
        self.incident_of = incident_of
        self._gates = gates or GateReports()
        self._clock = store.clock

    def settle(
        self,
        lease: Lease,
        event: Event,
        give_up: Callable[[], bool] = lambda: False,
        wish: Callable[[], Wish | None] = no_wish,
        before: Sequence[Event] = (),
    ) -> Settled:
        """An event of the holder of `lease`. While Redis is away it is tried again until `give_up()`. `wish`: what is
        asked for in the same step where the event ends the lease. `before`: what happened before it under this lease,
        in order, and is not on record yet; it is written in the same step.

        `DamagedKey` when a key of the task stays damaged: the lease is still held then, and may be settled later.

        Settled(ok=False) means that the lease is not ours any more: nothing was written but the refusal.
        """
        for each in (*before, event):
            if each.name not in _OF_HOLDERS:
                why = f"{each.name} is no event of a lease's holder"
                return self._refuse(lease.task, each.name, each.who, why, give_up)
        states = [lease.task.state]
        for each in before:
            after = lifecycle.next_state(states[-1], each.name)
            if after is None:
                return self._not_in_table(lease.task, states[-1], each.name, each.who, give_up)
            states.append(after)
        at = self.foreseen(lease, before) if before else lease
        decision = self._decided(at.task, event, lease.admission is not None)
        to = lifecycle.next_state(at.task.state, decision.event)
        if to is None:
            return self._not_in_table(at.task, at.task.state, decision.event, event.who, give_up)
        well = to in lifecycle.SUCCESS
        steps = [step(states[i], each, states[i + 1], self._ago_ms(each), well) for i, each in enumerate(before)]
        move = self._move(at.task, event, decision, to, at, steps)
        written = self._write(move, give_up, wish() if move.owner else None)
        if written.outcome == "cancel_asked":
            # Asked since this lease's fields were read: decide once more, knowing of it.
            return self.settle(replace(lease, task=replace(lease.task, cancel=True)), event, give_up, wish, before)
        if not written.ok:
            return self._late(lease, move, written, give_up)
        if written.gate is not None:
            self._gates.on_change(written.gate)
        kept = None
        if move.to in lifecycle.OWNED:
            kept = self.foreseen(lease, (*before, event), written.now)
        else:
            self._on_end(lease, move.to)
        return Settled(True, move.to, move.event, move.reason, kept, written.next)

    def foreseen(self, lease: Lease, events: Sequence[Event], now_ms: int | None = None) -> Lease:
        """The lease once these events of its holder are written, none of which ends it. `now_ms`: when they are."""
        fields: dict[str, Any] = {"state": lease.task.state}
        for each in events:
            fields["state"] = lifecycle.next_state(fields["state"], each.name) or fields["state"]
            started_ms = None if now_ms is None else now_ms - self._ago_ms(each)
            fields.update(_moved(each, started_ms))
        return lease.moved(fields)

    def _ago_ms(self, event: Event) -> int:
        """Milliseconds since it happened; rounded so that it never seems to have been earlier than it was."""
        return 0 if event.at_s is None else max(0, int((self._clock.boottime() - event.at_s) * 1000) - 1)

    def apply(
        self,
        task_id: str,
        event: Event,
        give_up: Callable[[], bool] = lambda: True,
        still: Callable[[Task], bool] = lambda _: True,
    ) -> Settled:
        """An event of somebody who holds no lease: a human, a timer, another service. `UnknownTask` if there is none.

        While Redis does not answer it is tried again until `give_up()` (default: at once, as for who comes again
        anyway); what was done although its reply was lost is not done twice.
        `still`: whether the task stands as it did when somebody saw what is to be done. Where it does not, another one
        who saw the same has been quicker: nothing is done, and nobody has tried what is forbidden.
        A `cancel` of a task that is being worked on becomes `ask_cancel`: its holder kills the tree, then settles. A
        `replay` of one that never ran because of what goes before it waits for that again (`replay_after`).
        """
        request, waits = self._clock.token(), True
        for _ in range(8):
            task = insist(lambda: self.store.read(task_id), self._clock, give_up)
            if not still(task):
                return Settled(False, task.state, event.name, "it has moved on")
            # Which of the two replays it is the task says, whoever asks.
            name = "replay" if event.name == "replay_after" else event.name
            if name == "cancel" and task.state in lifecycle.OWNED:
                name = "ask_cancel"
            if name == "replay" and task.after_open and waits:
                name = "replay_after"
            if name == "due" and task.after_open:
                return self._refuse(task, name, event.who, f"it waits for task {task.after_open[0]}", give_up)
            to = lifecycle.next_state(task.state, name)
            # Who holds no lease moves no task that somebody holds, though the table has the move for its holder.
            if name not in UNLEASED or (task.state in lifecycle.OWNED and name != "ask_cancel"):
                to = None
            if to is None:
                why = f"it is {task.state}" if name in UNLEASED else f"{name} needs the task's lease"
                return self._refuse(task, name, event.who, why, give_up)
            rule = "expire.after" if name == "expire" and event.failure else name
            decision = Decision(name, counted=False, rule=rule, reason=event.reason)
            move = replace(self._move(task, replace(event, name=name), decision, to, None), request=request)
            if name == "replay_after":
                move = replace(move, after=task.after_open)
            written = self._write(move, give_up)
            if written.other:
                if written.outcome == "met":
                    waits = False
                    continue
                return self._refuse(task, event.name, event.who, _not_awaited(written), give_up)
            if written.ok:
                return Settled(True, to, name, event.reason)
        return Settled(False, task.state, event.name, "the task kept changing; try again")

    def refuse(self, task: Task, name: str, who: str, why: str, request: str = "") -> Settled:
        """Records that somebody tried what the table forbids; the task stays as it is. Raises as `apply` does.

        `request`: the same for all who see the same try, so that it is recorded once."""
        return self._refuse(task, name, who, why, lambda: True, request)

    def _write(self, move: Move, give_up: Callable[[], bool], wish: Wish | None = None) -> Written:
        return insist(lambda: self.store.settle(move, wish), self._clock, give_up, DAMAGED_S)

    # --- how an event becomes a move -------------------------------------------------------------------------------

    def _decided(self, task: Task, event: Event, gated: bool) -> Decision:
        if event.name not in {"failed", "lost"}:
            if task.cancel and lifecycle.next_state(task.state, event.name) in lifecycle.WAITING:
                return Decision("cancel", counted=False, rule="cancel.asked", reason="its cancel was asked")
            # A success is one of the task's own tries, too.
            success = lifecycle.next_state(task.state, event.name) in lifecycle.SUCCESS
            return Decision(event.name, counted=success, rule=event.name, reason=event.reason)
        failure = event.failure or Failure("unknown", event.reason or "no reason was given")
        facts = replace(task.facts, deaths=task.deaths + event.death, gated=gated)
        try:
            return settlement.decide(failure, facts, self.limits, self._clock.jitter())
        except Exception as problem:
            log.exception("policy_error", extra={"task": task.id})
            return Decision("quarantine", False, "policy_error", f"policy_error: {type(problem).__name__}: {problem}")

    def _move(
        self, task: Task, event: Event, decision: Decision, to: str, lease: Lease | None, steps: Sequence[Step] = ()
    ) -> Move:
        ends = task.state in lifecycle.OWNED and to not in lifecycle.OWNED
        failure = self._failure(task, event, decision)
        fields: dict[str, str] = {}
        if failure is not None and to in lifecycle.FIELDS["failure"]:
            fields["failure"] = rq_view.compact(replace(failure, reason=failure.reason[:1000]).to_dict())
        if event.verdict is not None and to in lifecycle.FIELDS["verdict"]:
            fields["verdict"] = rq_view.compact(event.verdict)
        if to in lifecycle.TERMINAL:
            fields["ended_at"] = NOW
        if ends and decision.counted:
            fields["counted"] = str(task.counted + 1)
        if ends and failure is not None and (decision.counted or decision.remembered):
            fields |= {"fingerprint": failure.fingerprint, "equal_failures": str(decision.equal_failures)}
        if task.state == lifecycle.LEASED and decision.event in lifecycle.UNCOUNTED_PICKUPS:
            fields["pickups"] = str(max(0, task.pickups - 1))
        if event.death:
            fields["deaths"] = str(task.deaths + 1)
        ago_ms = self._ago_ms(event)
        fields |= facts_of(decision.event, event, ago_ms)
        told = None
        if ends and lease is not None and lease.admission is not None:
            told = self._gates.of_end(lease.admission, failure, to, self._clock.jitter(), called=event.called)
        drop = [*stale(task.state, fields, to), *budget.forgotten(event.name, event.fields)]
        patch = patch_at_end(decision, event, failure) if ends else patch_within(event, ago_ms)
        fields, drop, patch = together(steps, fields, drop, patch)
        now = self._clock.wall()
        replay = decision.event in lifecycle.REPLAYS
        return Move(
            id=task.id,
            queue=task.queue,
            source=steps[0].source if steps else task.state,
            through=[one.crumb for one in steps],
            event=decision.event,
            to=to,
            reason=decision.reason,
            who=event.who,
            fence=lease.fence if lease else "",
            evidence=decision.rule if failure is not None else "",
            fields=fields,
            drop=drop,
            attempt=patch,
            owner=lease.owner if lease and ends else "",
            job={} if to == task.state else rq_view.moved_fields(to, now),
            result=result(task, to, decision.reason),
            drop_result=replay,
            due_in_ms=None if decision.delay_s is None or to != lifecycle.DEFERRED else round(decision.delay_s * 1000),
            max_age_ms=round(task.max_age_s * 1000) if replay else None,
            bell=task.owner if decision.event == "ask_cancel" else "",
            request=self._clock.token(),
            heeds_cancel=ends and to in lifecycle.WAITING,
            incident=self._told(task, failure, decision, to),
            gate=told,
        )

    def _failure(self, task: Task, event: Event, decision: Decision) -> Failure | None:
        if decision.rule == "policy_error":
            return Failure("policy_error", decision.reason, source="host")
        if decision.event == "cancel":
            return Failure("cancelled", event.reason or "its cancel was asked", source="task")
        if decision.event == "expire" and event.failure is None:
            kind = task.failure.kind if task.failure else self._last_class(task)
            return Failure(kind, f"waited longer than its max_age_s of {task.max_age_s:g}", source="host")
        return event.failure

    def _told(self, task: Task, failure: Failure | None, decision: Decision, to: str) -> Mapping[str, Any]:
        """What it adds to an incident. Who expires for what goes before it adds nothing: that one has told already."""
        if failure is None or to == task.state or decision.rule == "expire.after":
            return {}
        return self.incident_of(failure, task.agent)

    def _last_class(self, task: Task) -> str:
        """What a queued task last failed of: its own field says nothing while it may run again."""
        if not task.attempt:
            return "no_progress"
        try:
            records = self.store.attempts(task.id)
        except (ValueError, KeyError, TypeError):
            records = []
        return next((str(each["class"]) for each in reversed(records) if each.get("class")), "no_progress")

    # --- refusals --------------------------------------------------------------------------------------------------

    def _late(self, lease: Lease, move: Move, written: Written, give_up: Callable[[], bool]) -> Settled:
        """The lease is not ours any more: the task stays as it is, and its breadcrumbs say that we came too late."""
        if written.outcome == "missing":
            return Settled(False, "", move.event, "the task is gone")
        why = f"late: attempt {lease.fence} holds no lease any more"
        self._record(replace(lease.task, state=written.state), move.event, move.who, why, give_up)
        return Settled(False, written.state, move.event, why)

    def _refuse(
        self, task: Task, name: str, who: str, why: str, give_up: Callable[[], bool], request: str = ""
    ) -> Settled:
        self._record(task, name, who, why, give_up, request)
        return Settled(False, task.state, name, why)

    def _not_in_table(self, task: Task, state: str, name: str, who: str, give_up: Callable[[], bool]) -> Settled:
        return self._refuse(replace(task, state=state), name, who, f"the table has no {name} from {state}", give_up)

    def _record(
        self, task: Task, name: str, who: str, why: str, give_up: Callable[[], bool], request: str = ""
    ) -> None:
        """One breadcrumb, and no transition."""
        refused, request = f"refused:{name}", request or self._clock.token()
        self._write(Move(task.id, task.queue, task.state, refused, task.state, why, who, request=request), give_up)


def _not_awaited(written: Written) -> str:
    """Why a task cannot wait again for what goes before it."""
    if written.outcome == "unknown":
        return f"task {written.other}, which goes before it, is not there any more; enqueue it anew"
    return f"task {written.other}, which goes before it, is {written.state}; replay that one first"


def _moved(event: Event, started_ms: int | None) -> dict[str, Any]:
    """What `event` writes of its task, beside its state."""
    match event.name:
        case "claim":
            return {"claim": event.claim}
        case "start":
            return {"pickups": 0, "started_at": started_ms}
        case "trial":
            return {"trial": True}
        case "baseline":
            return {"baseline": dict(event.fields)}
        case _:
            return {}
