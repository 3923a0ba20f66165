"""The life of one attempt: admit → perform → verify → settle. Everything that acts on the world is given to it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeAlias

from proofq.policies import ending, lifecycle, repair, settlement, stall, wiring
from proofq.policies.agent import AgentSpec
from proofq.policies.ended import Ending
from proofq.policies.failure import Failure
from proofq.policies.live import LIVE
from proofq.policies.settlement import Limits
from proofq.policies.stall import Transcripts
from proofq.policies.verdict import Verdict
from proofq.workers.clock import Clock
from proofq.workers.door import Door, Event
from proofq.workers.errors import RedisUnavailable
from proofq.workers.insist import insist
from proofq.workers.leasing import Wish, no_wish
from proofq.workers.life import Life, Running, Wait, through
from proofq.workers.owner import LEASE_IN_DOUBT, Held, Owner, Stop
from proofq.workers.prover import Before, Prover
from proofq.workers.record import Lease, Task
from proofq.workers.scripts import DamagedKey
from proofq.workers.spending import Spending
from proofq.workers.stops import EVENTS, lost
from proofq.workers.suspects import Suspects

log = logging.getLogger(__name__)

#: Parts of an attempt's life.
Steps: TypeAlias = Generator[Wait, bool, None]
#: Seconds within which a spawned agent must confirm its start.
START_TIMEOUT_S = 10.0
#: Seconds between two tries of a proof that could not tell.
VERIFY_AGAIN_S = 2.0
#: Seconds after which inputs that fit another worker's declaration are tried again, by whoever is free then.
DECLARED_AGAIN_S = 2.0
#: Seconds after which a suspect that may not start beside another one looks again.
SUSPECT_AGAIN_S = 5.0


class AttemptFailed(Exception):
    """Raised by a step to end the attempt with a failure; nothing runs any more."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class Performer(Protocol):
    """Prepares and starts agents on this host."""

    def prepare(self, task: Task, spec: AgentSpec, repair: str | None) -> Any:
        """Makes the attempt's places and expands the declaration; `AttemptFailed` for inputs that do not fit it.

        `repair`: why the last attempt's output was refused, None where it was not.
        No process of an earlier attempt of the task lives on this host when it returns.
        """

    def start(self, prepared: Any, baseline: Mapping[str, Any], timeout_s: float) -> Generator[Wait, bool, Running]:
        """Spawns and waits for the start to be confirmed; `AttemptFailed` (start_unconfirmed) with nothing left.

        Nothing of the agent runs before a change would be newer than the markers of the baseline.
        """

    def transcripts(self, prepared: Any) -> Transcripts:
        """How the files look now in which the agent's program writes down what it does; never raises."""


@dataclass(frozen=True)
class Attempts:
    """Runs attempts of declared agents for one owner. `name` is the worker's, as breadcrumbs show it."""

    door: Door
    owner: Owner
    performer: Performer
    prover: Prover
    agents: Mapping[str, AgentSpec]
    limits: Limits
    name: str
    clock: Clock
    #: True once the drain's time is over: a verification under way is left to whoever reaps the claim.
    leaving: Callable[[], bool]
    suspects: Suspects
    #: What of an agent's environment is hidden in all that is written of its attempts.
    secrets: Callable[[AgentSpec], Collection[str]] = lambda _: ()
    #: Counts what attempts spend; None where nobody does.
    spending: Spending | None = None
    #: Whether another live worker declares the agent otherwise, for inputs that do not fit this declaration.
    declared_otherwise: Callable[[AgentSpec], bool] = lambda _: False

    def run(self, lease: Lease, wish: Callable[[], Wish | None] = no_wish) -> Lease | None:
        """One attempt, from its grant to its settlement. `wish`: what its slot wants by then; returns what it got.
        Raises nothing but `RedisUnavailable` and `DamagedKey`, when given up."""
        return through(self.life(lease, wish), self.clock)

    def life(self, lease: Lease, wish: Callable[[], Wish | None] = no_wish) -> Life:
        """The same for who has better to do than to wait; any thread may go on with it."""
        return self._holding(self.owner.hold(lease, wish, begins=True), self._live)

    def adopt(self, lease: Lease) -> None:
        """Settles an attempt whose owner is gone: its proofs decide where they can, else it is lost."""
        through(self._holding(self.owner.hold(lease), self._orphaned), self.clock)

    # --- steps -----------------------------------------------------------------------------------------------------

    def _holding(self, held: Held, live: Callable[[Held], Steps]) -> Life:
        """One bad row, one bad declaration or one bug of ours ends one attempt, never the worker."""
        try:
            yield from live(held)
        except AttemptFailed as problem:
            self._settle(held, Event("failed", self.name, failure=problem.failure))
        except (RedisUnavailable, DamagedKey):
            raise
        except Exception as problem:
            log.exception("attempt_error", extra={"task": held.task_id})
            failure = Failure("policy_error", f"{type(problem).__name__}: {problem}", source="host")
            self._settle(held, Event("failed", self.name, failure=failure))
        finally:
            self.suspects.leave(held.fence)
            if self.spending:
                self.spending.forget(held)
            self.owner.release(held)
        return held.next

    def _live(self, held: Held) -> Steps:
        spec = self.agents[held.task.agent]
        if not self._admit(held):
            return
        poor = self.spending.admit(held, self.leaving) if self.spending else None
        if poor is not None:
            raise AttemptFailed(poor)
        prepared = self._prepared(held.task, spec)
        before = self.prover.baseline(held.task, spec, partial(self._records, held.task))
        if not self._keep(held, spec, before):
            return
        if self.owner.watch_isolation() or held.stopped:
            self._stopped(held, spec, held.stopped or "isolated")
            return
        running = yield from self.performer.start(prepared, before.record, START_TIMEOUT_S)
        try:
            yield from self._started(held, spec, prepared, running)
        except Exception:
            # Nobody else knows of this process: it must not outlive who watches it.
            running.kill("lost")
            running.wait_ended(None)
            raise

    def _started(self, held: Held, spec: AgentSpec, prepared: Any, running: Running) -> Steps:
        """From the confirmed start to the settlement."""
        held.attach(running.kill, lambda: running.progress)
        facts: dict[str, Any] = {"pid": running.pid, "start_ticks": running.start_ticks}
        if running.shared:
            facts["shared"] = True
        at_s = running.started_s or self.clock.boottime()
        held.unwritten.append(Event("start", self.name, fields=facts, at_s=at_s))
        # The start of what has ended by now is written with its end.
        if not running.wait_ended(0) and not self._catch_up(held):
            held.stop("lost")
        rest_s = self.spending.rest_s(held) if self.spending else None
        too_long = yield from self._watched(running, prepared, spec, rest_s)
        if too_long is not None:
            held.stop(too_long)
            yield Wait(running, None)
        held.detach()
        if not held.refused:
            self._ended(held, spec, running.ending())

    def _watched(
        self, running: Running, prepared: Any, spec: AgentSpec, rest_s: float | None
    ) -> Generator[Wait, bool, Stop | None]:
        """Waits until it ended by itself, or says why it must be ended. Sleeps until it could have stalled, no less.
        `rest_s`: what its budget leaves it."""
        if running.wait_ended(0):
            # To wait for it would hand it to another thread.
            return None
        now_s = self.clock.boottime()
        late: Stop = "timeout" if rest_s is None or rest_s >= spec.timeout_s else "budget"
        deadline_s = now_s + (spec.timeout_s if late == "timeout" else rest_s or 0.0)
        if spec.stall_after_s is None:
            return None if (yield Wait(running, deadline_s)) else late
        watch = stall.begin(spec.stall_after_s, self.performer.transcripts(prepared), now_s)
        while not (yield Wait(running, min(watch.due_s, deadline_s))):
            now_s = self.clock.boottime()
            if now_s >= deadline_s:
                return late
            watch = stall.heard(watch, running.heard_s)
            if now_s < watch.due_s:
                continue
            seen = stall.look(watch, self.performer.transcripts(prepared), now_s)
            if seen is None:
                return "stalled"
            watch = seen
        return None

    def _admit(self, held: Held) -> bool:
        """What must hold before an attempt starts; False when the lease is lost."""
        facts = held.task.facts
        exhausted = settlement.too_many_pickups(facts, self.limits)
        if exhausted is not None:
            raise AttemptFailed(exhausted)
        if not settlement.is_suspect(facts, self.limits):
            return True
        if not self.suspects.enter(held.fence):
            reason = f"{facts.deaths} workers died while they held it, and another such task is being tried here"
            raise AttemptFailed(Failure("infrastructure", reason, source="host", retry_after_s=SUSPECT_AGAIN_S))
        return self._settle(held, Event("trial", self.name))

    def _prepared(self, task: Task, spec: AgentSpec) -> Any:
        """Inputs that were fit for another worker's declaration wait for that one, as long as it is there."""
        try:
            return self.performer.prepare(task, spec, self._repair(task))
        except AttemptFailed as problem:
            if problem.failure.phase != "inputs" or not self.declared_otherwise(spec):
                raise
            reason = f"this worker declares the agent otherwise than another one: {problem.failure.reason}"
            waits = Failure("infrastructure", reason, source="host", retry_after_s=DECLARED_AGAIN_S)
            raise AttemptFailed(waits) from problem

    def _repair(self, task: Task) -> str | None:
        """Why the last output was refused. Asks Redis only where an attempt has counted already."""
        if not task.counted:
            return None
        return repair.of(self._records(task))

    def _records(self, task: Task) -> list[dict[str, Any]]:
        return insist(lambda: self.door.store.attempts(task.id), self.clock, self.leaving)

    def _keep(self, held: Held, spec: AgentSpec, before: Before) -> bool:
        """Write down how the world was before anything started; False when the lease is lost.

        Before and not with the start, unless it can be told again: an agent whose start nobody lived to confirm may
        have done its work, and what it wrote must not be taken for what was there before it. Who looks first needs
        it with no attempt to come.
        """
        if before.record == (held.task.baseline or {}) or not any(before.record.values()):
            return True
        if not before.tells_again or _looks_first(spec):
            return self._settle(held, Event("baseline", self.name, fields=before.record))
        held.unwritten.append(Event("baseline", self.name, fields=before.record, at_s=self.clock.boottime()))
        return True

    def _ended(self, held: Held, spec: AgentSpec, end: Ending) -> None:
        """Claim, failure, or a stop of ours: which one it was decides what is written."""
        if self.spending:
            self.spending.ended(held, end)
        # Only words of commands name a time of day that nobody has worked out yet.
        outcome = ending.of(end if spec.kind == "function" else replace(end, at=self.clock.wall().timestamp()), spec)
        if self.spending and isinstance(outcome, Failure):
            outcome = self.spending.named(held, outcome)
        if (end.killed_by or isinstance(outcome, Failure)) and self._found(held, spec):
            return
        if end.killed_by not in ("", LIVE):
            self._stopped(held, spec, end.killed_by)
        elif isinstance(outcome, Failure):
            self._settle(held, Event("failed", self.name, failure=outcome, steps=end.steps))
        elif wiring.missing(spec.must_call, end.steps):
            # Before the claim is on record: whoever judged it later would not know what was called.
            unwired = wiring.verdict(spec.must_call, end.steps, outcome.value)
            self._settle(held, replace(self._judged(unwired), steps=end.steps))
        else:
            at_s = self.clock.boottime()
            held.unwritten.append(Event("claim", self.name, claim=outcome.value, steps=end.steps, at_s=at_s))
            self._prove(held, spec)

    def _prove(self, held: Held, spec: AgentSpec) -> None:
        """A claim is written with its verdict where that comes at once, and else before anybody waits for it."""
        if not spec.proofs:
            self._settle(held, Event("finish_unproven", self.name, "finished by its own word: no proof is declared"))
            return
        if not (all(proof.is_quick for proof in spec.proofs) or self._catch_up(held)):
            return
        verdict = self._read(held, spec)
        if held.refused:
            return
        if held.stopped == "cancel":
            self._stopped(held, spec, "cancel")
        elif verdict is not None:
            self._settle(held, self._judged(verdict))

    def _read(self, held: Held, spec: AgentSpec) -> Verdict | None:
        """What the proofs say, asked again for `verify_wait_s` while they cannot tell; None: a reaper is to ask."""
        until_s = self.clock.boottime() + spec.verify_wait_s
        while True:
            task = self.door.foreseen(held.lease, held.unwritten).task
            verdict = self.prover.verify(task, spec, partial(self._catch_up, held))
            told = verdict.outcome != "cannot_tell" or held.stopped == "cancel"
            if told or self.clock.boottime() >= until_s:
                return verdict
            if not self._catch_up(held) or self.leaving() or held.stopped in LEASE_IN_DOUBT:
                return None
            self.clock.sleep(VERIFY_AGAIN_S)

    def _judged(self, verdict: Verdict) -> Event:
        shown = verdict.to_dict()
        if verdict.outcome == "verified":
            return Event("verify", self.name, verdict=shown)
        if verdict.outcome == "cannot_tell":
            failure = Failure("infrastructure", verdict.reason, source="host", phase="proof")
            return Event("hold", self.name, verdict.reason, failure, shown, outcome="cannot_tell")
        failure = Failure(verdict.class_ or "unverified", verdict.reason, phase="proof")
        return Event("failed", self.name, failure=failure, verdict=shown, outcome="unverified")

    def _found(self, held: Held, spec: AgentSpec) -> bool:
        """`look_first`: the proofs are read although the attempt did not end well; True if the work is done."""
        if held.stopped in LEASE_IN_DOUBT or not _looks_first(spec):
            return False
        if not self._catch_up(held):
            return True  # whatever the proofs say, it is not ours to write
        verdict = self.prover.verify(held.task, spec, lambda: None)
        return verdict.outcome == "verified" and self._settle(held, self._finding(verdict))

    def _finding(self, verdict: Verdict) -> Event:
        reason = "the proofs hold although the attempt did not end well"
        return Event("found", self.name, reason, verdict=verdict.to_dict())

    def _stopped(self, held: Held, spec: AgentSpec, reason: str) -> None:
        """We ended it: the reason that killed says what is written."""
        self._settle(held, EVENTS[reason](self.name, spec))

    def _orphaned(self, held: Held) -> Steps:
        """Nothing of it runs, so there is nothing to wait for."""
        self._unknown_end(held)
        yield from ()

    def _unknown_end(self, held: Held) -> None:
        task, spec = held.task, self.agents[held.task.agent]
        if task.state == lifecycle.CLAIMED_DONE:
            if settlement.too_many_deaths(task.facts, self.limits):
                self._settle(held, lost(self.name, "its owner died while its proofs were read"))
            else:
                self._prove(held, spec)
        elif (task.state == lifecycle.RUNNING or task.baseline) and _looks_first(spec):
            # With a baseline it may have been started, which nobody lived to write down.
            self._look(held, spec)
        else:
            self._settle(held, lost(self.name, _UNSEEN))

    def _look(self, held: Held, spec: AgentSpec) -> None:
        """Nobody saw it end, so its proofs decide; that they cannot tell is no reason to run it a second time."""
        verdict = self._read(held, spec)
        if verdict is None:
            return
        if verdict.outcome == "verified":
            self._settle(held, self._finding(verdict))
        elif verdict.outcome == "cannot_tell" and not held.stopped:
            self._settle(held, self._judged(verdict))
        else:
            self._settle(held, lost(self.name, _UNSEEN))

    def _catch_up(self, held: Held) -> bool:
        """Writes what has happened and is not on record; False when the lease is lost."""
        if held.unwritten:
            self._settle(held, held.unwritten.pop())
        return not held.refused

    def _settle(self, held: Held, event: Event) -> bool:
        """Writes the event while Redis allows, and before it what is not on record yet; once this worker must leave,
        the lease is left to a reaper instead."""
        number, evidence = held.news()
        spec = self.agents.get(held.task.agent)
        admission = held.lease.admission
        called = admission is not None and admission.gate in held.called
        told = replace(event, progress=evidence, called=called) if evidence or called else event
        secrets = () if spec is None else self.secrets(spec)
        shown, before = told.without(secrets), [each.without(secrets) for each in held.unwritten]
        settled = self.door.settle(held.lease, shown, self.leaving, held.wish, before)
        held.unwritten.clear()
        held.refused = not settled.ok
        if settled.ok and number:
            held.written(number, self.clock.boottime())
        if settled.lease is not None:
            held.lease = settled.lease
        held.next = settled.next
        if self.spending and settled.ok and settled.lease is None:
            self.spending.close(held, shown.failure.kind if shown.failure else "", self.leaving)
        return settled.ok


#: Of an attempt whose owner died while it ran.
_UNSEEN = "its owner is gone and nobody saw it end"


def _looks_first(spec: AgentSpec) -> bool:
    return spec.look_first and bool(spec.proofs) and all(proof.implies_completeness for proof in spec.proofs)
