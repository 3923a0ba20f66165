"""The invariants, checked after each step: what a step has touched is read back in one step and judged.

The rules about one task are the audit's own. Beside them stand those that need more than Redis holds: what is true in
the world, who is alive, what was asked before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from proofq.policies import audit
from proofq.policies.audit import VIEW_RULES
from proofq.policies.audit_view import Violation
from proofq.policies.lifecycle import (
    CLAIMED_DONE,
    DEFERRED,
    HELD,
    OWNED,
    SUCCESS,
    TERMINAL,
    VERIFIED,
    WAITING,
    is_refused,
)
from proofq.policies.settlement import Limits
from proofq.workers import keys
from proofq.workers.attempt import START_TIMEOUT_S
from proofq.workers.errors import RedisUnavailable
from proofq.workers.record import Breadcrumb
from proofq.workers.scripts import Argument, DamagedKey, Runner
from proofq.workers.snapshot import Peek
from tests.simulation import caps, gate
from tests.simulation.hub import Broken, Party
from tests.simulation.lean import LeanClient
from tests.simulation.told import Told
from tests.simulation.world import Agent, World

if TYPE_CHECKING:
    from tests.simulation.fleet import Fleet

#: How long an agent may act without a lease: its start to be confirmed, a look of the watch, TERM, grace and KILL.
GRACE_MS = round((START_TIMEOUT_S + 4.0) * 1000)
#: After a stopped tree goes on, the watch and the kill need so long.
RESUMED_MS = 4500
_AT_REST = TERMINAL | {HELD}
#: Scripts that must go through when Redis is full.
AT_MAXMEMORY = frozenset({"lease", "beat", "settle", "reap", "owner", "watch", "restore", "follow", "peek"})


class Oracle:
    """Judges each step of one seed. Raises `Broken` with the rule's name first."""

    fleet: Fleet

    def __init__(self, raw: Runner, client: LeanClient, world: World, limits: Limits) -> None:
        self._raw = raw
        self._client = client
        self._world = world
        self._limits = limits
        self.tasks: dict[str, Peek] = {}
        self._moving: set[str] = set()
        self.by_key: dict[str, str] = {}
        #: What each request was answered when it was first carried out.
        self._answers: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._buried: set[str] = set()
        #: Keys that hold a string now, and the tasks whose RQ view could not be moved meanwhile.
        self.planted: dict[str, None] = {}
        self.blurred: set[str] = set()
        #: Keys of ours were damaged: lists may disagree until they are put back.
        self.full = False
        self.told = Told()
        #: Some tasks pass the gate of a provider.
        self.gated = False
        self._gate = gate.Watch(client)
        self._caps = caps.Watch(client)
        self.checks = 0

    # --- one step --------------------------------------------------------------------------------------------------

    def script(self, party: Party, name: str, arguments: tuple[Argument, ...], runner: Runner) -> list[Any]:
        """Carries a script out and judges what it did."""
        before = self._writes() if self.planted or self.full else None
        try:
            answer = runner(name, arguments)
        except DamagedKey as problem:
            if problem.key not in self.planted:
                raise Broken(f"damaged_key: {name} says {problem.key} is damaged, nobody planted it") from None
            if problem.key == keys.leases(getattr(party, "owner_id", "")):
                party.hurt = True
            self._unchanged(before, f"{name} refused {problem.key}")
            raise
        except RedisUnavailable:
            if self.full:
                self._unchanged(before, f"{name} at maxmemory")
                if name in AT_MAXMEMORY:
                    raise Broken(f"maxmemory: {name} did not go through") from None
            raise
        word = answer[0].decode()
        judge = getattr(self, f"_after_{name}", None)
        if judge is not None:
            judge(party, arguments, answer, word)
        if self.gated and name in {"lease", "settle"}:
            self._gate.look()
        self._watch_agents()
        return answer

    def _writes(self) -> int:
        """How many changes the server has counted: asked before each step that may be refused, so it must be cheap."""
        said: bytes = self._client.execute_command("INFO", "persistence")
        return int(said.partition(b"rdb_changes_since_last_save:")[2].split(b"\r")[0])

    def _unchanged(self, before: int | None, what: str) -> None:
        if before is not None and self._writes() != before:
            raise Broken(f"write_before_check: {what}, yet something was written")

    def damaged_look(self, key: str) -> None:
        """A reaper's whole look was ended by one key."""
        if key != keys.OWNERS:
            raise Broken(f"look_ended: one damaged key, {key}, kept a reaper from looking after everything else")

    def _same(self, request: tuple[str, ...], outcome: tuple[str, ...]) -> None:
        """The same request again has the same outcome."""
        first = self._answers.setdefault(request, outcome)
        if first != outcome:
            raise Broken(f"not_idempotent: {request} was answered {first}, sent again {outcome}")

    # --- after each script -----------------------------------------------------------------------------------------

    def _after_enqueue(self, party: Party, arguments: tuple[Any, ...], answer: list[Any], word: str) -> None:
        plan = json.loads(arguments[1])
        if word in {"missing", "unknown", "ended", "met"}:
            return
        task_id = answer[1].decode()
        self._same(("enqueue", plan["id"]), (task_id,))
        if word == "created":
            if task_id in self.tasks:
                raise Broken(f"created_twice: {task_id}")
            if plan["key"]:
                if plan["key"] in self.by_key:
                    raise Broken(f"key_twice: {plan['key']} has {self.by_key[plan['key']]} and {task_id}")
                self.by_key[plan["key"]] = task_id
        self.look([task_id])
        if word == "created":
            self.fleet.ring(plan["queue"])

    def _after_lease(self, party: Party, arguments: tuple[Any, ...], answer: list[Any], word: str) -> None:
        owner, rid = str(arguments[1]), str(arguments[3])
        if word == "granted":
            task_id, fence = answer[1].decode(), answer[2].decode()
            again = ("lease", rid) in self._answers
            self._same(("lease", rid), (task_id, fence))
            if self.gated and not again:
                self._gate.granted(answer, owner)
            if owner in self._buried:
                raise Broken(f"leased_to_the_dead: {owner} got {task_id}")
            self.look([task_id])
            if self.fleet.capped and not again:
                self._caps.granted(self.tasks[task_id].row["agent"], int(answer[3]), self.tasks)
            self._after_its_turn(task_id)
        elif word == "empty":
            held = self._answers.get(("lease", rid))
            if held is not None and held[0] in self.tasks and self.tasks[held[0]].row.get("fence") == held[1]:
                raise Broken(f"not_idempotent: lease {rid} was granted {held}, sent again nothing")

    def _after_settle(self, party: Party, arguments: tuple[Any, ...], answer: list[Any], word: str) -> None:
        plan = json.loads(arguments[1])
        task_id, request = plan["id"], ("settle", plan["id"], plan["rid"])
        known = self.tasks.get(task_id)
        if word == "done":
            if request in self._answers:
                raise Broken(f"not_idempotent: {plan['event']} of {task_id} was carried out twice")
            self._answers[request] = (word,)
            self.told.settled(plan)
            if known is not None:
                self._fenced(plan, known)
        elif request in self._answers and word != "already":
            raise Broken(f"not_idempotent: {plan['event']} of {task_id} was carried out, sent again {word}")
        self.look([task_id])
        if word == "done" and not is_refused(plan["event"]):
            if plan["to"] == "queued":
                self.fleet.ring(plan["queue"])
            if plan.get("bell"):
                self.fleet.ring(plan["bell"])
            self._look_at_followers(task_id)
        if word in {"done", "already"} and len(answer) > 2 and answer[2]:
            granted: list[Any] = answer[2]
            self._after_lease(party, (arguments[0], *arguments[2:]), granted, granted[0].decode())

    def _after_its_turn(self, task_id: str) -> None:
        """Who was asked to run after others never does before all of them have ended in success."""
        for other in json.loads(self.tasks[task_id].row.get("after", "[]")):
            state = self.tasks[other].row.get("state")
            if state not in SUCCESS and keys.task(other) not in self.planted:
                raise Broken(f"out_of_turn: {task_id} was leased, and {other}, which goes before it, is {state}")

    def _after_follow(self, party: Party, arguments: tuple[Any, ...], answer: list[Any], word: str) -> None:
        self._look_at_followers(str(arguments[1]))

    def _look_at_followers(self, task_id: str) -> None:
        followers = [name for name, seen in self.tasks.items() if task_id in seen.row.get("after_open", "")]
        self.look(followers)
        for name in followers:
            self.fleet.ring(self.tasks[name].row["queue"])

    def _fenced(self, plan: dict[str, Any], known: Peek) -> None:
        if is_refused(plan["event"]):
            return
        fence, state = known.row.get("fence", ""), known.row.get("state")
        if plan["fence"] and plan["fence"] != fence:
            raise Broken(f"fence: {plan['event']} of {known.id} under {plan['fence']}, its fence is {fence}")
        if state in OWNED and not plan["fence"] and plan["event"] != "ask_cancel":
            raise Broken(f"fence: {plan['event']} of {known.id}, which is {state}, without a fence")

    def _after_reap(self, party: Party, arguments: tuple[Any, ...], answer: list[Any], word: str) -> None:
        task_id, old, new, rid, death = (str(arguments[index]) for index in (1, 3, 4, 6, 8))
        if word != "taken":
            return
        repeated = ("reap", task_id, rid) in self._answers
        self._same(("reap", task_id, rid), (answer[1].decode(),))
        if not repeated:
            deadline = self._client.zscore(keys.OWNERS, old)
            if deadline is not None and deadline > self._world.hub.now:
                raise Broken(f"reaped_the_living: {task_id} was taken from {old}, whose deadline is still to come")
            if new in self._buried:
                raise Broken(f"leased_to_the_dead: {new} took {task_id}")
        before = self.tasks.get(task_id)
        self.look([task_id])
        if before is not None and not repeated:
            deaths = int(before.row.get("deaths", 0)) + (death == "1")
            if int(self.tasks[task_id].row.get("deaths", 0)) != deaths:
                raise Broken(f"deaths: {task_id} should have {deaths}")

    def _after_beat(self, party: Party, arguments: tuple[Any, ...], answer: list[Any], word: str) -> None:
        owner = str(arguments[1])
        if word == "ok" and owner in self._buried:
            raise Broken(f"revived: {owner} was buried, and its beat was accepted")
        if word == "ok":
            # One that was under way when its sender was stopped or cut off says nothing of what it is now.
            one = self.fleet.by_owner[owner]
            one.hurt = one.frozen or one.link.cut
        flat = [value.decode() for value in answer[2]] if word == "ok" else []
        for index in range(0, len(flat), 3):
            asked = self.tasks[flat[index]].row.get("cancel", "") if flat[index] in self.tasks else ""
            if bool(asked) != bool(flat[index + 2]) and keys.task(flat[index]) not in self.planted:
                raise Broken(f"cancel_unheard: the cancel of {flat[index]} is {asked!r}, the beat said otherwise")

    def _after_owner(self, party: Party, arguments: tuple[Any, ...], answer: list[Any], word: str) -> None:
        verb, owner = str(arguments[1]), str(arguments[2])
        if word == "ok" and verb == "enlist":
            # Its reply was lost for so long that it was condemned; it has never held anything.
            self._buried.discard(owner)
        if word != "ok" or verb not in {"bury", "condemn"}:
            return
        one = self.fleet.by_owner[owner]
        if verb == "condemn" and owner not in self._buried and one.alive and not one.hurt:
            raise Broken(f"taken_from_the_living: {one.name} was reachable, and {party.name} condemned it")
        if verb == "bury" and one.alive and party is not one:
            raise Broken(f"buried_alive: {party.name} buried {one.name}")
        self._buried.add(owner)
        self.fleet.ring(owner)

    # --- tasks -----------------------------------------------------------------------------------------------------

    def peek(self, task_id: str) -> Peek:
        arguments = (str(self._world.hub.now), task_id, "", "")
        try:
            answer = self._raw("peek", arguments)
        except RedisUnavailable:
            # The first to speak after a restart finds its connection broken, and a look may well be that.
            answer = self._raw("peek", arguments)
        return Peek.parse(task_id, answer[1])

    def look(self, task_ids: Iterable[str]) -> None:
        """Reads tasks back and judges them, and what is new in their breadcrumbs."""
        for task_id in task_ids:
            seen = self.peek(task_id)
            self.checks += 1
            damaged = {key for key, _ in seen.damaged}
            if damaged - self.planted.keys():
                raise Broken(f"damaged_key: {damaged}, nobody planted it")
            views = (keys.STATES, keys.ENDED)
            if any(not key.startswith(keys.PREFIX) or key.startswith(views) for key in self.planted):
                # RQ's keys are a view: what could not be moved in it shows until the audit's repair.
                self.blurred.add(task_id)
            before = self.tasks.get(task_id)
            if keys.task(task_id) in damaged:
                continue
            if not seen.row:
                raise Broken(f"lost: {task_id} has no row")
            if keys.crumbs(task_id) in damaged and before is not None:
                seen = replace(seen, crumbs=before.crumbs)
            self._keep(seen)
            hidden = set(VIEW_RULES) if task_id in self.blurred else set()
            if damaged & {keys.crumbs(task_id), keys.attempts(task_id)}:
                hidden = set(audit.RULES)
            if damaged & {keys.TASKS, keys.AGES, keys.DUE}:
                hidden.add("lists")
            if damaged & {keys.OWNERS} or any(key.startswith(keys.LEASES) for key in damaged):
                hidden.add("lease_agrees")
            for violation in audit.check(seen.view()):
                if violation.rule not in hidden and not self._stray(violation):
                    raise Broken(f"{violation.rule}: {task_id}: {violation.detail}")
            known = len(before.crumbs) if before is not None else 0
            for index in range(known, len(seen.crumbs)):
                self._moved(before, seen, index)

    def _stray(self, violation: Violation) -> bool:
        """It was taken out of its queue because its rows were damaged, and waits to be put back."""
        if violation.rule != "rq_place" or keys.STRAYS in self.planted:
            return violation.rule == "rq_place"
        return bool(self._client.execute_command("HEXISTS", keys.STRAYS, violation.subject))

    def _keep(self, seen: Peek) -> None:
        self.tasks[seen.id] = seen
        if seen.row["state"] in _AT_REST:
            self._moving.discard(seen.id)
        else:
            self._moving.add(seen.id)

    def look_at_all(self) -> None:
        self.look(list(self.tasks))

    def _moved(self, before: Peek | None, seen: Peek, index: int) -> None:
        crumb = seen.crumbs[index]
        if is_refused(crumb.event):
            return
        if crumb.event == "reap":
            self._must_be_dead(seen.id, crumb.attempt, "its lease was taken over")
        if (
            crumb.source in OWNED
            and (crumb.to not in OWNED or crumb.to == CLAIMED_DONE)
            and crumb.event != "ask_cancel"
        ):
            self._must_be_dead(seen.id, crumb.attempt, f"it was settled ({crumb.event})")
        if crumb.event == "start" and (seen.id, crumb.attempt) not in self._world.started:
            raise Broken(f"unstarted: {seen.id} is running, and its agent never came up")
        if crumb.to == VERIFIED and seen.id not in self._world.truth:
            raise Broken(f"false_success: {seen.id} is verified, and its work is not done")
        if crumb.to in WAITING and crumb.source in OWNED and self._cancel_asked(seen.crumbs, index):
            raise Broken(f"cancel_forgotten: {seen.id} is {crumb.to} after its cancel was asked")
        if crumb.event == "requeue" and int(seen.row.get("deaths", 0)) >= self._limits.max_deaths:
            raise Broken(f"deaths_bound: {seen.id} is queued again after {seen.row.get('deaths')} deaths")
        if crumb.event == "start" and before is not None and int(before.row["pickups"]) > self._limits.max_pickups:
            raise Broken(f"pickups_bound: {seen.id} was started at pickup {before.row['pickups']}")
        if crumb.to in TERMINAL and crumb.source in OWNED and crumb.reason.startswith("policy_error"):
            raise Broken(f"policy_error: {seen.id}: {crumb.reason}")

    def _cancel_asked(self, crumbs: list[Breadcrumb], index: int) -> bool:
        for crumb in reversed(crumbs[:index]):
            if crumb.event == "ask_cancel":
                return True
            if crumb.event == "lease":
                return False
        return False

    # --- agents ----------------------------------------------------------------------------------------------------

    def _must_be_dead(self, task_id: str, attempt: int, why: str) -> None:
        now = self._world.hub.now
        for agent in self._world.live(task_id):
            resumed = now - agent.home.resumed_at < RESUMED_MS
            if agent.attempt == attempt and agent.acts and not agent.exempt and not resumed:
                raise Broken(f"alive: {why} while {agent} was alive")

    def _watch_agents(self) -> None:
        """No agent acts without a lease for longer than it takes to notice and to kill it."""
        now = self._world.hub.now
        for agent in self._world.agents:
            if not agent.acts or agent.exempt or self._leased(agent):
                agent.leaseless_since = None
            elif agent.leaseless_since is None:
                agent.leaseless_since = now
            elif now - agent.leaseless_since > GRACE_MS:
                raise Broken(f"leaseless: {agent} has acted for {now - agent.leaseless_since} ms without a lease")

    def _leased(self, agent: Agent) -> bool:
        row = self.tasks[agent.task_id].row
        state, attempt = row.get("state"), int(row.get("attempt", 0))
        return state in OWNED and attempt == agent.attempt and row.get("owner") == agent.home.owner_id

    # --- the end ---------------------------------------------------------------------------------------------------

    def resting(self) -> bool:
        """Whether every task is terminal or held, or waits for one that is held."""
        return all(self._waits_for_a_human(name) for name in self._moving)

    def _waits_for_a_human(self, task_id: str) -> bool:
        """Whether it waits for a task that is held, or for one that does."""
        row = self.tasks[task_id].row
        if row.get("state") == HELD:
            return True
        return row.get("state") == DEFERRED and any(
            map(self._waits_for_a_human, json.loads(row.get("after_open", "[]")))
        )

    def stuck(self) -> list[str]:
        return [f"{name} ({self.tasks[name].row['agent']}): {self.tasks[name].row['state']}" for name in self._moving]
