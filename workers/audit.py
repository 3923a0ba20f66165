"""Looks for contradictions in everything Redis holds of ours, with bounded memory and beside running workers.

What belongs to one task is read in one step and judged by the rules of `policies.audit`. What may stand without its
task (ids in queues and registries, leases, rows) is found by walking the keys, and looked at again, in one step, before
it is called a contradiction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from proofq.policies import audit
from proofq.policies.audit import VIEW_RULES
from proofq.policies.audit_view import Violation
from proofq.workers import audit_after, audit_caps, audit_effects, audit_gates, keys
from proofq.workers.reading import reading
from proofq.workers.record import Task
from proofq.workers.scripts import DamagedKey
from proofq.workers.store import Store

#: Contradictions kept in a report; more than these say nothing new.
MAX_VIOLATIONS: Final = 1000
_PAGE: Final = 500
#: What each of our keys holds. Prefixes end in ':'.
_TYPES: Final = {
    keys.TASK: "hash",
    keys.CRUMBS: "list",
    keys.ATTEMPTS: "hash",
    keys.TASKS: "zset",
    keys.DUE: "zset",
    keys.AGES: "zset",
    keys.STATES: "zset",
    keys.OWNERS: "zset",
    keys.OWNER: "hash",
    keys.LEASES: "hash",
    keys.GRANTS: "hash",
    keys.HOST: "set",
    keys.KEY: "hash",
    keys.CATALOGUE: "hash",
    keys.STRAYS: "hash",
    keys.ENDED: "zset",
    keys.FOLLOWERS: "list",
    keys.FOLLOWING: "zset",
    keys.PAUSED: "hash",
    keys.EFFECTS: "hash",
    keys.UNCONFIRMED: "zset",
    keys.SPENT: "hash",
    keys.BUDGETS: "hash",
    keys.DEAREST: "hash",
    keys.LEDGER: "hash",
    keys.INCIDENT: "hash",
    keys.CAUSES: "hash",
    keys.SEEN: "zset",
    keys.INCIDENTS: "zset",
    keys.ALERTS: "zset",
    keys.GATE: "hash",
    keys.GATE_CRUMBS: "list",
    keys.GATES: "zset",
    keys.ISOLATED: "hash",
    keys.RUNNING: "zset",
    keys.STARTS: "list",
    keys.TURNS: "hash",
}
#: Rules of the audit beside those about one task.
RULES: Final = {
    "wrong_type": "every key of ours, and of RQ's that we move, holds its own type",
    "task_row": "every listed task has a row that can be read",
    "after_lost": "a task that waits for others is told of their end: they know of it, or a reaper is about to tell it",
    "orphan_rows": "breadcrumbs, attempts and RQ places belong to a task that exists",
    "wrong_queue": "an id stands only in the queue and the registries of its own queue",
    "stray": "nothing was found in a queue that is no task of ours",
    "lease_stale": "an owner holds leases only of tasks that name it",
    "owner_row": "an owner has a row and a deadline, or neither",
    "effect_listed": "effects that were begun and not done are listed as unconfirmed, and no others",
    "cap_counted": "what is leased under a cap is counted by it",
    "gate": "a gate's breadcrumbs are moves of the table, each from where the last one led, and end where it stands",
}


@dataclass(frozen=True)
class Report:
    """What an audit found: how many tasks it checked, and the contradictions, at most `MAX_VIOLATIONS`."""

    checked: int
    violations: list[Violation]

    def to_dict(self) -> dict[str, Any]:
        return {"checked": self.checked, "violations": [violation.to_dict() for violation in self.violations]}


class Audit:
    """One audit of one Redis. Raises `RedisUnavailable` where Redis goes away under it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._client: Any = store.client
        self._checked = 0

    def run(self) -> Report:
        """Looks at everything. Safe at any time: each contradiction was seen within one step."""
        self._checked = 0
        found: dict[Violation, None] = {}
        for violation in self.violations():
            found.setdefault(violation)
            if len(found) == MAX_VIOLATIONS:
                break
        return Report(self._checked, list(found))

    def violations(self) -> Iterator[Violation]:
        """Each contradiction as it is found; one that shows from two sides may come twice."""
        yield from self._guarded(self._listed_tasks)
        yield from self._keys()
        yield from self._guarded(self._owners)
        yield from self._queues()
        yield from self._guarded(self._strays)
        yield from self._guarded(partial(audit_gates.violations, self._store))

    def task(self, task_id: str) -> list[Violation]:
        """The contradictions in one task, read in one step."""
        try:
            peek = self._store.peek(task_id)
        except ValueError as problem:
            return [Violation("task_row", task_id, str(problem))]
        found = [Violation("wrong_type", key, f"it holds a {actual}") for key, actual in peek.damaged]
        damaged = {key for key, _ in peek.damaged}
        if not peek.row:
            if keys.task(task_id) not in damaged:
                scores = {"tasks": peek.listed, "ages": peek.expires, "due": peek.due}
                where = [name for name, score in scores.items() if score is not None]
                if where:
                    found.append(Violation("task_row", task_id, f"it has no row, but stands in {', '.join(where)}"))
            return found
        try:
            waits_for = Task.read(task_id, peek.row).after_open
        except ValueError as problem:
            return [*found, Violation("task_row", task_id, str(problem))]
        # What cannot be read is named by its type; that the rest does not agree with it is no second fault.
        hidden = frozenset().union(*(_hidden_by(key) for key in damaged))
        found += audit_after.lost(self._store, task_id, waits_for)
        return found + [violation for violation in audit.check(peek.view()) if violation.rule not in hidden]

    # --- what is ours ----------------------------------------------------------------------------------------------

    def _guarded(self, walk: Callable[..., Iterator[Violation]], *arguments: str) -> Iterator[Violation]:
        """A key of a wrong type is named, and ends no more than its own walk."""
        try:
            yield from walk(*arguments)
        except DamagedKey as problem:
            yield Violation("wrong_type", problem.key, f"it holds a {problem.actual}")

    def _listed_tasks(self) -> Iterator[Violation]:
        for name, _ in _walk(self._client.zscan_iter, keys.TASKS):
            self._checked += 1
            yield from self.task(name)

    def _keys(self) -> Iterator[Violation]:
        for page in _pages(self._client.scan_iter(match=f"{keys.PREFIX}*", count=_PAGE)):
            with reading(keys.PREFIX), self._client.pipeline(transaction=False) as pipe:
                for raw in page:
                    pipe.type(raw)
                types = [kind.decode() for kind in pipe.execute()]
            for raw, kind in zip(page, types, strict=True):
                key = raw.decode("utf-8", "replace")
                prefix = next((known for known in _TYPES if _names(known, key)), "")
                if prefix and kind not in {_TYPES[prefix], "none"}:
                    yield Violation("wrong_type", key, f"it holds a {kind}")
                elif prefix:
                    yield from self._guarded(self._key, prefix, key[len(prefix) :])

    def _key(self, prefix: str, name: str) -> Iterator[Violation]:
        if prefix in {keys.TASK, keys.CRUMBS, keys.ATTEMPTS}:
            yield from self._rows(prefix, name)
        elif prefix == keys.LEASES:
            yield from self._leases(name)
            yield from audit_caps.of_owner(self._store, name)
        elif prefix == keys.OWNER:
            yield from self._owner(name)
        elif prefix == keys.STATES:
            yield from self._counted(name)
        elif prefix == keys.ENDED:
            yield from self._ended(name)
        elif prefix == keys.EFFECTS:
            yield from audit_effects.of_task(self._store, name)
        elif prefix == keys.UNCONFIRMED:
            for member, _ in _walk(self._client.zscan_iter, keys.UNCONFIRMED):
                yield from audit_effects.of_list(self._store, member)

    def _rows(self, prefix: str, task_id: str) -> Iterator[Violation]:
        """Rows of tasks that the list of tasks does not name."""
        with reading(keys.TASKS):
            listed = self._client.zscore(keys.TASKS, task_id) is not None
        if listed:
            return
        if prefix == keys.TASK:
            yield from self.task(task_id)
            return
        try:
            peek = self._store.peek(task_id)
            orphan = not peek.row and bool(peek.crumbs or peek.attempts)
        except ValueError:
            orphan = True
        if orphan:
            yield Violation("orphan_rows", prefix + task_id, "no task has this id")

    def _counted(self, lane: str) -> Iterator[Violation]:
        """Ids that a lane counts and that are no tasks of it."""
        key = keys.states(lane)
        for name, _ in _walk(self._client.zscan_iter, key):
            with self._client.pipeline(transaction=True) as pipe, reading(key):
                pipe.hget(keys.task(name), "lane")
                pipe.zscore(key, name)
                own, counted = pipe.execute(raise_on_error=False)
            if counted is None or isinstance(own, Exception) or isinstance(counted, Exception):
                continue
            place = (key, name, name, "lane", lane)
            if own is None:
                yield Violation("orphan_rows", key, f"it counts {name}, which is no task of ours", place)
            elif own != lane.encode():
                yield Violation("wrong_queue", key, f"it counts {name}, whose lane is {own!r:.80}", place)

    def _ended(self, state: str) -> Iterator[Violation]:
        """Ids among the ends of a state that are no tasks of ours."""
        key = keys.ended(state)
        for name, _ in _walk(self._client.zscan_iter, key):
            with self._client.pipeline(transaction=True) as pipe, reading(key):
                pipe.exists(keys.task(name))
                pipe.zscore(key, name)
                there, score = pipe.execute(raise_on_error=False)
            if there == 0 and score is not None and not isinstance(score, Exception):
                place = (key, name, name, "state", state)
                yield Violation("orphan_rows", key, f"it lists {name}, which is no task of ours", place)

    def _leases(self, owner: str) -> Iterator[Violation]:
        for name, _ in _walk(self._client.hscan_iter, keys.leases(owner)):
            try:
                peek = self._store.peek(name, owner=owner)
            except ValueError:
                continue
            if peek.other_lease is not None and peek.row.get("owner") != owner:
                detail = f"it holds {name} under {peek.other_lease}; the task's owner is {peek.row.get('owner')}"
                place = (keys.leases(owner), name, name, "owner", owner)
                yield Violation("lease_stale", owner, detail, place)

    def _owners(self) -> Iterator[Violation]:
        for name, _ in _walk(self._client.zscan_iter, keys.OWNERS):
            yield from self._owner(name)

    def _owner(self, owner: str) -> Iterator[Violation]:
        with reading(keys.OWNERS), self._client.pipeline(transaction=True) as pipe:
            pipe.zscore(keys.OWNERS, owner)
            pipe.exists(keys.owner(owner))
            deadline, row = pipe.execute()
        if (deadline is not None) != bool(row):
            yield Violation("owner_row", owner, f"row: {bool(row)}, deadline: {deadline is not None}")

    def _strays(self) -> Iterator[Violation]:
        for name, raw in _walk(self._client.hscan_iter, keys.STRAYS):
            yield Violation("stray", name, raw.decode("utf-8", "replace")[:200])

    # --- RQ's queues and registries --------------------------------------------------------------------------------

    def _queues(self) -> Iterator[Violation]:
        for queue in self._queue_names():
            for prefix in (keys.RQ_QUEUE, *keys.RQ_REGISTRY.values(), keys.RQ_SCHEDULED):
                yield from self._guarded(self._place, prefix, queue)

    def _queue_names(self) -> list[str]:
        try:
            with reading(keys.RQ_QUEUES):
                found = [name.decode("utf-8", "replace") for name in self._client.smembers(keys.RQ_QUEUES)]
        except DamagedKey:
            return []
        names = [name.removeprefix(keys.RQ_QUEUE) for name in found]
        return sorted(name for name in names if name.startswith(("work.", "meta.")))

    def _place(self, prefix: str, queue: str) -> Iterator[Violation]:
        key = prefix + queue
        for member in self._members(key, is_list=prefix == keys.RQ_QUEUE):
            task_id = member.rsplit(":", 1)[0] if prefix == keys.RQ_STARTED else member
            with self._client.pipeline(transaction=True) as pipe:
                pipe.hget(keys.task(task_id), "queue")
                if prefix == keys.RQ_QUEUE:
                    pipe.lpos(key, member)
                else:
                    pipe.zscore(key, member)
                with reading(key):
                    own, place = pipe.execute(raise_on_error=False)
            if place is None or isinstance(own, Exception) or isinstance(place, Exception):
                continue
            at = (key, member, task_id, "queue", queue)
            if own is None:
                # In a queue it may be a job of plain RQ's that nobody has adopted yet: workers see to it.
                said = f"it holds {task_id}, which is no task of ours"
                yield Violation("orphan_rows", key, said, None if prefix == keys.RQ_QUEUE else at)
            elif own != queue.encode():
                yield Violation("wrong_queue", key, f"it holds {task_id}, whose queue is {own!r:.80}", at)

    def _members(self, key: str, is_list: bool) -> Iterator[str]:
        if not is_list:
            yield from (name for name, _ in _walk(self._client.zscan_iter, key))
            return
        start = 0
        while True:
            with reading(key):
                page = self._client.lrange(key, start, start + _PAGE - 1)
            yield from (name.decode("utf-8", "replace") for name in page)
            if len(page) < _PAGE:
                return
            start += _PAGE


def _hidden_by(key: str) -> frozenset[str]:
    """The rules that say nothing while `key` cannot be read."""
    if key in {keys.TASKS, keys.AGES, keys.DUE}:
        return frozenset({"lists"})
    if key.startswith(keys.STATES):
        return frozenset({"counted_as"})
    if key.startswith(keys.ENDED):
        return frozenset({"ended_as"})
    if key == keys.OWNERS or key.startswith(keys.LEASES):
        return frozenset({"lease_agrees"})
    return frozenset(audit.RULES) if key.startswith(keys.PREFIX) else VIEW_RULES


def _names(known: str, key: str) -> bool:
    return key.startswith(known) if known.endswith(":") else key == known


def _walk(scan: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Every member of a hash or zset with its value, by cursor: what stays there throughout is seen at least once."""
    with reading(key):
        for name, value in scan(key, count=_PAGE):
            yield name.decode("utf-8", "replace"), value


def _pages(names: Iterable[bytes]) -> Iterator[list[bytes]]:
    page: list[bytes] = []
    with reading(keys.PREFIX):
        for name in names:
            page.append(name)
            if len(page) == _PAGE:
                yield page
                page = []
    if page:
        yield page
