"""`proofq audit --repair`: puts right what the audit found, as far as `policies.mending` allows, and looks again.

Each repair is one script that compares before it writes and leaves a breadcrumb of `who` "audit". It is safe beside
workers: what it writes follows from the task's row in that instant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from proofq.policies import lifecycle, mending
from proofq.policies.audit_view import Violation
from proofq.policies.failure import Failure
from proofq.workers import rq_view
from proofq.workers.audit import Audit
from proofq.workers.door import Door, Event
from proofq.workers.errors import UnknownTask
from proofq.workers.record import Task
from proofq.workers.scripts import Argument, DamagedKey
from proofq.workers.store import Store

WHO: Final = "audit"
#: Looks in all; each may find what the one before was full of.
ROUNDS: Final = 50
#: What an owner whose deadline is lost is given until it counts as silent, and the time-out that RQ is shown of a task
#: whose job hash is gone: the defaults of both.
ISOLATION_MS: Final = 90_000
TIMEOUT_S: Final = 3600.0


@dataclass
class Repaired:
    """What was put right, and what is left. `checked`: tasks that the last look has checked."""

    checked: int = 0
    repaired: list[Violation] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {
            "checked": self.checked,
            "violations": [one.to_dict() for one in self.violations],
            "repaired": [{**one.to_dict(), "how": mending.REPAIRS[one.rule][1]} for one in self.repaired],
        }


class Repair:
    """One repair of one Redis. Raises `RedisUnavailable` where Redis goes away under it: run it again."""

    def __init__(self, store: Store, door: Door) -> None:
        self._store = store
        self._door = door
        self._tried: set[tuple[str, str, str]] = set()

    def run(self) -> Repaired:
        """Look, put right, and look again until there is nothing more to put right."""
        done = Repaired()
        for _ in range(ROUNDS):
            report = Audit(self._store).run()
            done.checked, done.violations = report.checked, report.violations
            tried = len(self._tried)
            done.repaired += self._round(report.violations)
            # What was not to be put right may have moved on by itself, so it is looked at once more, too.
            if len(self._tried) == tried:
                break
        left = {(one.rule, one.subject) for one in done.violations}
        done.repaired = [one for one in done.repaired if (one.rule, one.subject) not in left]
        return done

    def _round(self, violations: Sequence[Violation]) -> list[Violation]:
        acted: list[Violation] = []
        to_mend: dict[str, list[Violation]] = {}
        for one in violations:
            # What did not help the first time would only leave breadcrumbs the second.
            if (one.rule, one.subject, one.detail) in self._tried:
                continue
            self._tried.add((one.rule, one.subject, one.detail))
            match mending.act(one.rule):
                case "mend":
                    to_mend.setdefault(one.subject, []).append(one)
                case "unlist" if one.place is not None and self._unlist(one.place):
                    acted.append(one)
                case "restore" if self._restore(one.subject):
                    acted.append(one)
        # Whose own rows contradict each other is no source to write anything by.
        doubtful = {one.subject for one in violations if mending.act(one.rule) is None}
        for task_id, found in to_mend.items():
            if task_id not in doubtful and self._mend(task_id, found):
                acted += found
        return acted

    # --- one repair ------------------------------------------------------------------------------------------------

    def _mend(self, task_id: str, found: Sequence[Violation]) -> bool:
        rules = {one.rule for one in found}
        reason = f"put right: {', '.join(sorted(rules))}"
        try:
            peek = self._store.peek(task_id)
            task = Task.read(task_id, peek.row)
            if peek.crumbs and (peek.crumbs[-1].event, peek.crumbs[-1].reason) == ("mend", reason):
                return False
            if "after_lost" in rules and (gone := self._gone(task.after_open)):
                return self._expire(task_id, gone)
            plan, birth = self._plan(task, rules, reason), self._birth(task)
            answer = self._store.call("mend", rq_view.compact(plan).encode("utf-8", "replace"), *birth)
        except (UnknownTask, DamagedKey, ValueError):
            return False
        return answer[0] in (b"done", b"already")

    def _plan(self, task: Task, rules: set[str], reason: str) -> Mapping[str, Any]:
        ended = task.state in lifecycle.TERMINAL
        job = rq_view.shown_fields(task.state, task.ended_at, self._store.attempts(task.id))
        if "rq_job" in rules and not ended:
            job = rq_view.moved_fields(task.state, self._store.clock.wall())
        why = task.failure.reason if task.failure else task.state
        stale = [name for name in lifecycle.scrubbed(task.state) if name in task.fields]
        return {
            "id": task.id,
            "rid": self._store.clock.token(),
            "state": task.state,
            "fence": task.fence,
            "who": WHO,
            "reason": reason,
            "drop": stale,
            "job": job,
            "result": rq_view.result_row(task.state, task.claim, why) if ended else {},
            "fix_result": "rq_result" in rules,
            "waits": task.state in lifecycle.WAITING,
            "isolation_ms": ISOLATION_MS,
        }

    def _birth(self, task: Task) -> list[Argument]:
        now = self._store.clock.wall()
        fields = rq_view.job_fields(task.agent, task.queue, task.state, task.inputs, TIMEOUT_S, now)
        return [part for name, value in fields.items() for part in (name, rq_view.plain(value))]

    def _gone(self, ids: Iterable[str]) -> str:
        """The first of these tasks that is not there; '' when all are."""
        return next((one for one in ids if not self._store.peek(one).row), "")

    def _expire(self, task_id: str, gone: str) -> bool:
        reason = f"task {gone}, which goes before it, is not there any more"
        failure = Failure("no_progress", reason, source="store")
        return self._door.apply(task_id, Event("expire", WHO, reason, failure=failure)).ok

    def _unlist(self, place: tuple[str, ...]) -> bool:
        try:
            answer = self._store.call("unlist", *place, WHO, self._store.clock.token())
        except DamagedKey:
            return False
        return bool(answer[0] == b"done")

    def _restore(self, task_id: str) -> bool:
        try:
            return self._store.restore(task_id)
        except DamagedKey:
            return False
