"""What attempts spend, counted against their budgets: before an attempt starts, while it says so, and at its end.

A task whose agent and provider have no budget, and that says nothing of spending, costs no command of Redis here.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from proofq.policies import budget
from proofq.policies.adapters import of as adapter_of
from proofq.policies.agent import AgentSpec
from proofq.policies.budget import Budget, Scope
from proofq.policies.ended import Ending
from proofq.policies.failure import Failure
from proofq.workers import keys, rq_view
from proofq.workers.answering import Handler, Question
from proofq.workers.errors import BadInput, BudgetReached, LeaseLost, RedisUnavailable
from proofq.workers.insist import insist
from proofq.workers.owner import Held
from proofq.workers.reading import text
from proofq.workers.scripts import DamagedKey
from proofq.workers.store import Store

log = logging.getLogger(__name__)

_DAY_MS: Final = 86_400_000


@dataclass
class _Purse:
    """What one attempt draws on, and what it has been counted for so far, in whole numbers."""

    scopes: list[Scope]
    task: dict[str, int]
    ledger: str
    guess: list[str]
    started_s: float
    total: dict[str, int] = field(default_factory=dict)
    #: Of `total`: what was guessed at the start, and what the attempt has said since.
    guessed: dict[str, int] = field(default_factory=dict)
    said: dict[str, int] = field(default_factory=dict)
    #: What its end showed; empty while it runs.
    seen: dict[str, int] = field(default_factory=dict)
    #: The fingerprint of the budget that refused it something; "" while none has.
    reached: str = ""
    #: Whether it has to be closed.
    open: bool = False

    def add(self, to: dict[str, int], amounts: Mapping[str, int]) -> None:
        for kept in (self.total, to):
            for name, amount in amounts.items():
                kept[name] = kept.get(name, 0) + amount


class Spending:
    """The books of one supervisor. `providers`: the budgets of each. Thread-safe."""

    def __init__(
        self, store: Store, agents: Mapping[str, AgentSpec], providers: Mapping[str, tuple[Budget, ...]]
    ) -> None:
        self._store = store
        self._clock = store.clock
        self._agents = agents
        self.providers = providers
        self._lock = threading.Lock()
        self._purses: dict[str, _Purse] = {}

    def has_budget(self, spec: AgentSpec) -> bool:
        """Whether an attempt of it draws on a budget."""
        return bool(spec.budget or self.providers.get(spec.provider or ""))

    # --- an attempt, from its start to its end ---------------------------------------------------------------------

    def admit(self, held: Held, give_up: Callable[[], bool]) -> Failure | None:
        """Take what an attempt about to start is guessed to cost; why it may not start, None where it may."""
        spec = self._agents[held.task.agent]
        if not self.has_budget(spec):
            return None
        purse = self._purse(held, spec)
        try:
            answer = self._ask("admit", held, purse, {}, give_up)
        except DamagedKey as problem:
            return Failure("infrastructure", str(problem), source="store", phase="start")
        match answer[0]:
            case b"taken":
                purse.open = True
                purse.add(purse.guessed, json.loads(answer[1]))
            case b"reached":
                return budget.reached(*_where(purse, held, answer))
            case b"busy":
                return budget.busy(purse.scopes[int(answer[1]) - 1].words, held.task.attempt)
        return None

    def rest_s(self, held: Held) -> float | None:
        """Seconds that the task's own budget leaves the attempt; None where that has no limit of them."""
        limit = budget.of_task(self._agents[held.task.agent].budget).get("wall_s")
        if limit is None:
            return None
        return max(0.0, (limit - held.task.spent.get("wall_s", 0)) / budget.UNITS["wall_s"])

    def named(self, held: Held, failure: Failure) -> Failure:
        """The failure that an attempt ended with, known as a budget's of ours where one has refused it something."""
        purse = self._purses.get(held.fence)
        reached = purse.reached if purse and failure.kind == "budget" else ""
        return replace(failure, fingerprint=reached) if reached else failure

    def ended(self, held: Held, end: Ending) -> None:
        """The attempt's process has ended: what that shows of its use is counted once it is settled."""
        spec = self._agents[held.task.agent]
        said = dict(adapter_of(spec.adapter).usage(end)) if spec.kind == "command" else {}
        purse = self._purses.get(held.fence) or (self._purse(held, spec) if said else None)
        if purse is None:
            return
        measured = {"output_bytes": float(end.output_bytes)}
        if self.has_budget(spec):
            # Others have a purse only since they first spent something.
            measured["wall_s"] = max(0.0, self._clock.boottime() - purse.started_s)
        purse.seen = budget.units({**said, **measured})
        purse.open = True

    def forget(self, held: Held) -> None:
        """The attempt is nobody's any more, settled or not."""
        if self._purses:
            with self._lock:
                self._purses.pop(held.fence, None)

    def close(self, held: Held, kind: str, give_up: Callable[[], bool]) -> None:
        """It is settled, with a failure of this class or "": count what it used, instead of what was guessed."""
        with self._lock:
            purse = self._purses.pop(held.fence, None)
        if purse is None or not purse.open:
            return
        used = {name: purse.said.get(name, 0) + purse.seen.get(name, 0) for name in budget.UNITS}
        more = {name: used[name] - purse.total.get(name, 0) for name in budget.UNITS}
        total = {name: amount for name, amount in used.items() if amount}
        extra: dict[str, Any] = {"class": kind or "none", "total": total, "used": used}
        if not purse.seen:
            # It never ran: nothing is learned of what an attempt costs.
            extra["guess"] = []
        try:
            self._ask("close", held, purse, {name: by for name, by in more.items() if by}, give_up, must=True, **extra)
        except (RedisUnavailable, DamagedKey) as problem:
            # What was taken stays counted: rather too much than too little.
            log.warning("spending_unsettled", extra={"task": held.task_id, "problem": str(problem)})

    # --- questions -------------------------------------------------------------------------------------------------

    def handlers(self) -> Mapping[str, Handler]:
        """By what is asked."""
        return {"spend.take": self._take, "spend.settle": self._settle}

    def _take(self, question: Question) -> None:
        """{"amounts", "must"}: about to be spent, refused where nothing is left; `must`: it has been spent already."""
        said = question.args.get("amounts")
        amounts = said if isinstance(said, Mapping) else {}
        for name, value in amounts.items():
            if wrong := budget.bad_amount(name, value) if name in budget.SAID else f"{name!r:.40} is nothing to spend":
                raise BadInput(f"ctx.spend: {wrong}.")
        self._count(question, budget.units(amounts), must=bool(question.args.get("must")))

    def _settle(self, question: Question) -> None:
        """{"taken", "used"}: what was taken before, and what it came to."""
        taken, used = (question.args.get(name) for name in ("taken", "used"))
        pairs = [each if isinstance(each, Mapping) else {} for each in (taken, used)]
        for name, value in [*pairs[0].items(), *pairs[1].items()]:
            if name not in budget.SAID or budget.bad_amount(name, value):
                raise BadInput(f"settle: {name!r:.40} is {value!r:.40}, which is nothing to spend.")
        before, after = (budget.units(each) for each in pairs)
        by = {name: after.get(name, 0) - before.get(name, 0) for name in {**before, **after}}
        purse = self._purses.get(question.held.fence)
        for name, amount in by.items():
            # The counters are the whole fleet's.
            if amount + (purse.said.get(name, 0) if purse else 0) < 0:
                raise BadInput(f"settle: more {name} would be given back than this attempt has taken.")
        self._count(question, {name: amount for name, amount in by.items() if amount}, must=True)

    def _count(self, question: Question, amounts: dict[str, int], *, must: bool) -> None:
        held = question.held
        spec = self._agents[held.task.agent]
        purse = self._purse(held, spec)
        try:
            answer = self._ask("take", held, purse, amounts, question.give_up, must=must)
        except DamagedKey as problem:
            raise RedisUnavailable(str(problem)) from problem
        match answer[0]:
            case b"taken":
                purse.open = True
                with self._lock:
                    purse.add(purse.said, amounts)
            case b"reached":
                refusal = budget.reached(*_where(purse, held, answer))
                purse.reached = refusal.fingerprint
                raise BudgetReached(refusal.reason)
            case _:
                raise LeaseLost("This attempt's task is somebody else's by now; nothing was counted.")

    # --- the script ------------------------------------------------------------------------------------------------

    def _purse(self, held: Held, spec: AgentSpec) -> _Purse:
        with self._lock:
            if held.fence not in self._purses:
                now = self._clock.wall()
                scopes = budget.scopes("agent", spec.name, spec.budget, now)
                name = spec.provider or ""
                scopes += budget.scopes("provider", name, self.providers.get(name, ()), now)
                limited = {name for scope in scopes for name in scope.limits}
                guess = sorted(limited if spec.kind == "command" else limited - budget.SAID)
                ledger = keys.ledger(f"{now:%Y-%m-%d}")
                task = budget.of_task(spec.budget)
                self._purses[held.fence] = _Purse(scopes, task, ledger, guess, self._clock.boottime())
            return self._purses[held.fence]

    def _ask(
        self,
        verb: str,
        held: Held,
        purse: _Purse,
        add: Mapping[str, int],
        give_up: Callable[[], bool],
        *,
        must: bool = False,
        **more: Any,
    ) -> list[Any]:
        plan = {
            "task": purse.task,
            "scopes": [
                {
                    "key": keys.spent(one.owner, one.name, one.window),
                    "keep_ms": round(budget.KEPT_S[one.per] * 1000),
                    **asdict(one),
                    "limit": one.limits,
                }
                for one in purse.scopes
            ],
            "add": dict(add),
            "must": must,
            "ledger": purse.ledger,
            "ledger_keep_ms": budget.LEDGER_DAYS * _DAY_MS,
            "agent": held.task.agent,
            "guess": purse.guess if verb != "take" else [],
            **({"dearest": keys.DEAREST + held.task.agent} if verb != "take" else {}),
            **more,
        }
        request, said = self._clock.token(), rq_view.compact(plan)
        return insist(
            lambda: self._store.call("spend", verb, held.task_id, held.fence, request, said), self._clock, give_up
        )


def _where(purse: _Purse, held: Held, answer: list[Any]) -> tuple[str, str, int, int]:
    """Of an answer that says what is reached: the words for its budget, the dimension, its limit, what was spent."""
    number = int(answer[1])
    words = f"task {held.task_id}" if number == 0 else purse.scopes[number - 1].words
    return words, text(answer[2]), int(answer[3]), int(answer[4])
