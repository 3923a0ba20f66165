"""The supervisor of a lane, or of a share of its slots: one owner, one forkserver. It holds Redis and settles; it runs
no agent.

serve.py puts it together. Exit codes: 0 drained or burst done, 75 begin again (a guard died, or the fleet has buried
this owner).
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import proofq
from proofq.policies import isolation, layout
from proofq.policies.agent import AgentSpec
from proofq.policies.settlement import Limits
from proofq.workers import catalogue, draining, fleet, keys, proctree, rq_view, sinks
from proofq.workers import host as hosts
from proofq.workers.answering import Answering
from proofq.workers.attempt import Attempts, Performer
from proofq.workers.bell import Bell
from proofq.workers.door import Door
from proofq.workers.errors import Error, RedisUnavailable, UnknownTask
from proofq.workers.folders import Folders
from proofq.workers.gate_keys import GateKeys
from proofq.workers.incidents import Reporting
from proofq.workers.insist import insist, tries
from proofq.workers.owner import Owner
from proofq.workers.prover import Prover
from proofq.workers.purge import Purger
from proofq.workers.reaper import Reaper
from proofq.workers.record import Lease
from proofq.workers.refunding import Refunding
from proofq.workers.rq_commands import RqCommands
from proofq.workers.rq_rows import RqRows
from proofq.workers.scripts import DamagedKey
from proofq.workers.settings import Settings
from proofq.workers.shares import Share
from proofq.workers.slots import Slots
from proofq.workers.spending import Spending
from proofq.workers.store import Store
from proofq.workers.suspects import Suspects
from proofq.workers.turns import Turns

log = logging.getLogger(__name__)

BEGIN_AGAIN: Final = 75
#: Seconds after the drain's time in which what was killed is settled; then its leases are left to a reaper.
SETTLE_S: Final = 4.0
#: How often a supervisor says of itself what it is, before it leaves it to be found out.
SAYINGS: Final = 3
#: Seconds between two looks of the isolation watch; it needs no Redis.
WATCH_S: Final = 0.25
#: Seconds between two publications of the catalogue.
CATALOGUE_S: Final = 600.0


@dataclass(frozen=True)
class Post:
    """Where and as what a supervisor serves."""

    name: str
    lane: str
    share: Share
    burst: bool
    launcher_pid: int


@dataclass(frozen=True)
class Hands:
    """The parts that touch processes: the forkserver's pid, who starts agents, who proves, whether anything can still
    be started, how all of it is let go, what of an agent's environment is kept nowhere, who answers what attempts
    ask, which gates agents pass, and who counts what they spend."""

    forkserver_pid: int
    performer: Performer
    prover: Prover
    usable: Callable[[], bool]
    close: Callable[[], None]
    secrets: Callable[[AgentSpec], Collection[str]]
    answering: Answering
    gates: GateKeys
    spending: Spending


class Supervisor:
    """Holds one owner from enlisting to forgetting. `run` returns the exit code."""

    def __init__(
        self, post: Post, settings: Settings, store: Store, agents: dict[str, AgentSpec], hands: Hands, owner_id: str
    ) -> None:
        self._post = post
        self._settings = settings
        self._store = store
        self._hands = hands
        self._clock = store.clock
        self._agents = agents
        self._host = hosts.LocalHost()
        self._stop = threading.Event()
        self._leaving = threading.Event()
        self._drain_asked = threading.Event()
        self._hurry = threading.Event()
        self._beat_now = threading.Event()
        self._look_now = threading.Event()
        self._looked = threading.Event()
        self._begin_again = False
        self._drain_passed_on = False
        limits = Limits(settings.max_pickups, settings.max_deaths, settings.max_equal_crashes, settings.max_wait_s)
        self._owner = Owner(store, owner_id, settings.isolation_s, self._on_retired, self._on_orphan)
        hands.answering.open(self._owner.holding)
        queues = [keys.queue_of(spec.lane, name) for name, spec in agents.items() if spec.lane == post.lane]
        self._rq_rows = RqRows(store, self._owner, post.name, post.lane, post.share, post.launcher_pid, queues)
        reporting = Reporting.of_agents(settings.incidents, agents, self._clock)
        self._notifier = sinks.notifier(store, settings.incidents, os.environ)
        door = Door(store, limits, self._rq_rows.count, reporting.of, hands.gates.reports)
        self._rq_commands = RqCommands(post.name, post.lane, post.share, self._owner, door, self._shut_down)
        self._attempts = Attempts(
            door,
            self._owner,
            hands.performer,
            hands.prover,
            agents,
            limits,
            post.name,
            self._clock,
            self._leaving.is_set,
            Suspects(self._clock),
            hands.secrets,
            hands.spending,
            lambda spec: fleet.declares_otherwise(store, spec.name, spec.version),
        )
        self._reaper = Reaper(store, door, self._owner, self._host, post.name, agents, self._adopt_later)
        self._queues = frozenset(queues) | hands.gates.names(agents)
        turns = Turns(hands.gates.places(agents, post.lane))
        self._slots = Slots(post.share, turns, store, self._owner, self._attempts, post.name, self._usable)
        self._refunding = Refunding(door, post.lane, agents, hands.spending.providers)
        self._purger = Purger(store, settings.retention)
        quota = settings.disk_quota_mib * 1024 * 1024
        self._folders = Folders(store, settings.state_dir, settings.retention.files_s, quota)
        self._adoptions = ThreadPoolExecutor(4, thread_name_prefix="adopt")

    # --- from outside, from any thread -----------------------------------------------------------------------------

    def on_term(self) -> None:
        """The first asks for a drain, the second skips what is left of it."""
        if self._drain_asked.is_set():
            self._hurry.set()
        self._drain_asked.set()

    def _shut_down(self) -> None:
        """Asks the launcher, so that both lanes drain and neither is started again."""
        draining.pass_on(self._post.launcher_pid)

    def on_guard_lost(self, why: str) -> None:
        """A process that this one guards with is dead; everything below has been killed. Settle, then begin again."""
        log.error("guard_lost", extra={"why": why})
        self._begin_again = True
        self._owner.stop_all("guard")
        self._hurry.set()
        self._drain_asked.set()

    # --- life ------------------------------------------------------------------------------------------------------

    def run(self) -> int:
        self._enlist()
        self._thread(self._heart, "heart")
        self._thread(self._isolation_watch, "isolation")
        self._thread(self._reap, "reaper")
        commands = self._rq_commands
        bell = Bell(self._store.client, self._clock, self._on_ring, self._stop, commands.channels, commands.hear)
        self._thread(bell.listen, "bell")
        self._slots.start()
        self._notifier.start()
        self._describe("ready")
        self._thread(self._clean, "folders")
        serves = {"lane": self._post.lane, "slots": self._post.share.count, "owner": self._owner.id}
        log.info("worker_ready", extra=serves)
        self._serve()
        self._drain()
        self._leave()
        return BEGIN_AGAIN if self._begin_again else 0

    def _enlist(self) -> None:
        supervisor, forkserver = proctree.identity(os.getpid()), proctree.identity(self._hands.forkserver_pid)
        row = {
            "id": self._owner.id,
            "name": self._post.name,
            "lane": self._post.lane,
            "slots": self._post.share.count,
            "first_slot": self._post.share.first,
            "host": hosts.host_name(),
            "launcher_pid": self._post.launcher_pid,
            "state": "starting",
            "agents": " ".join(sorted(self._agents)),
            "release": proofq.__version__,
            "layout": layout.VERSION,
            "versions": rq_view.compact(
                {name: spec.version for name, spec in self._agents.items() if spec.lane == self._post.lane}
            ),
            "gates": rq_view.compact(self._hands.gates.by_agent(self._agents)),
            "caps": rq_view.compact(self._hands.gates.cap_words(self._agents)),
            **hosts.process_fields("supervisor", supervisor),
            **hosts.process_fields("forkserver", forkserver),
        }
        insist(
            lambda: self._store.enlist(self._owner.id, self._host.id, self._owner.isolation_ms, row),
            self._clock,
            self._drain_asked.is_set,
        )
        self._publish()

    def _serve(self) -> None:
        """Until a drain is asked for, or a burst has nothing left."""
        while not self._drain_asked.wait(0.1 if self._post.burst else None):
            if self._post.burst and self._slots.idle.is_set() and not self._owner.holding():
                self._slots.idle.clear()
                if self._nothing_ready():
                    return

    def _nothing_ready(self) -> bool:
        """Whether a whole round of looking and asking found nothing while nothing ran."""
        # What RQ's people put into a queue is a task only once the reaper has seen it.
        self._looked.clear()
        self._look_now.set()
        self._looked.wait(2 * isolation.TICK_S)
        self._slots.ring()
        return self._slots.idle.wait(2 * isolation.TICK_S) and not self._owner.holding()

    def _drain(self) -> None:
        """No new lease; what runs may end by itself for `drain_s`, then it is killed and given back uncounted."""
        self._slots.stop()
        self._describe("draining")
        until = self._clock.boottime() + self._settings.drain_s
        while not self._hurry.is_set() and self._clock.boottime() < until:
            if self._slots.wait(WATCH_S):
                return
        self._owner.stop_all("drain")
        if not self._slots.wait(SETTLE_S):
            self._leaving.set()
            self._slots.wait(0.5)

    def _leave(self) -> None:
        """Says that this owner is gone; what it still holds (a claim whose proofs cannot tell) goes to a reaper."""
        self._leaving.set()
        self._stop.set()
        self._adoptions.shutdown(wait=False, cancel_futures=True)
        self._hands.close()
        left = {"dead": "1", "why": "a process of its worker died"}
        if not self._begin_again:
            left = {"dead": "1", "left": "1", "why": "its worker left"}
        try:
            # A connection that broke since this thread last spoke is noticed only now.
            insist(lambda: self._store.bury(self._owner.id, self._host.id, left), self._clock, tries(SAYINGS))
            insist(lambda: self._store.forget(self._owner.id, self._host.id), self._clock, tries(SAYINGS))
        except (RedisUnavailable, DamagedKey) as problem:
            log.warning("leave_unsaid", extra={"problem": str(problem)})
        if not (self._begin_again or self._hurry.is_set()):
            self._notifier.leave()

    # --- threads ---------------------------------------------------------------------------------------------------

    def _thread(self, work: Callable[[], None], name: str) -> None:
        threading.Thread(target=work, name=name, daemon=True).start()

    def _heart(self) -> None:
        every_s = isolation.beat_every_s(self._owner.isolation_s)
        heard = True
        while not self._stop.is_set():
            try:
                self._owner.beat()
                if self._owner.drain_asked and not self._drain_passed_on:
                    self._drain_passed_on = draining.pass_on(self._post.launcher_pid)
                if not heard:
                    log.warning("redis_back", extra={"silent_s": round(self._owner.silent_s(), 1)})
                heard = True
            except (RedisUnavailable, DamagedKey) as problem:
                if heard:
                    log.warning("redis_away", extra={"problem": str(problem)})
                heard = False
            except Exception:
                log.exception("heart_error")
            self._beat_now.wait(every_s)
            self._beat_now.clear()

    def _isolation_watch(self) -> None:
        while not self._stop.is_set():
            self._owner.watch_isolation()
            self._stop.wait(WATCH_S)

    def _reap(self) -> None:
        published_s = self._clock.boottime()
        while not self._stop.is_set():
            try:
                if self._reaper.run_once().alerts:
                    self._notifier.wake()
                self._rq_rows.say(self._drain_asked.is_set())
                self._refunding.tick()
                if (purged := self._purger.tick()).count:
                    log.info("purged", extra={"tasks": purged.count, "bytes": purged.bytes})
                if self._clock.boottime() - published_s > CATALOGUE_S:
                    published_s = self._clock.boottime()
                    self._publish()
            except (RedisUnavailable, DamagedKey):
                pass  # the heart says so
            except Exception:
                log.exception("reaper_error")
            self._looked.set()
            self._look_now.wait(isolation.TICK_S * (0.9 + 0.2 * self._clock.jitter()))
            self._look_now.clear()

    def _clean(self) -> None:
        """Folders of ended tasks; where they leave too little room even so, nothing more is leased."""
        while not self._stop.is_set():
            before = self._folders.full
            try:
                if removed := self._folders.look():
                    log.info("folders_removed", extra={"tasks": removed})
            except (RedisUnavailable, DamagedKey):
                pass  # the heart says so
            except Exception:
                log.exception("folders_error")
            if self._folders.full != before and not self._drain_asked.is_set():
                log.warning("disk_room", extra={"problem": self._folders.full or "there is room again"})
                self._describe("full" if self._folders.full else "ready", full=self._folders.full)
                self._slots.ring()
            self._stop.wait(self._folders.every_s)

    def _usable(self) -> bool:
        return not self._folders.full and self._hands.usable()

    # --- what the threads hear -------------------------------------------------------------------------------------

    def _on_ring(self, whom: str) -> None:
        if whom in self._queues:
            self._slots.ring()
        elif whom == self._owner.id:
            self._beat_now.set()
        else:
            # An owner that is not us: it may have been buried, and what it held waits for a reaper.
            self._look_now.set()

    def _on_retired(self) -> None:
        log.error("owner_retired", extra={"owner": self._owner.id})
        self._begin_again = True
        self._hurry.set()
        self._drain_asked.set()

    def _on_orphan(self, task_id: str, fence: str) -> None:
        """A lease of ours that no slot knows of: nothing runs for it, so it is lost and settled at once."""
        try:
            task = self._store.read(task_id)
        except ValueError as problem:
            with suppress(DamagedKey, RedisUnavailable):
                self._store.set_aside(task_id, self._owner.id, "", str(problem))
            return
        except (UnknownTask, DamagedKey, RedisUnavailable):
            return
        if task.fence == fence and task.owner == self._owner.id:
            self._adopt_later(Lease(task, fence, self._owner.id, task.slot))

    def _adopt_later(self, lease: Lease) -> None:
        """Reading proofs takes time; a look of the reaper, or a beat, must not wait for it."""

        def adopt() -> None:
            try:
                self._attempts.adopt(lease)
            except Error as problem:
                log.warning("lease_unsettled", extra={"task": lease.task.id, "problem": str(problem)})
            except Exception:
                log.exception("adopt_error", extra={"task": lease.task.id})

        if not self._stop.is_set():
            self._adoptions.submit(adopt)

    def _describe(self, state: str, **more: str) -> None:
        try:
            row = {"state": state, **more}
            insist(lambda: self._store.describe(self._owner.id, self._host.id, row), self._clock, tries(SAYINGS))
        except (RedisUnavailable, DamagedKey):
            log.warning("state_unsaid", extra={"state": state})

    def _publish(self) -> None:
        entries = {name: catalogue.entry(spec) for name, spec in self._agents.items()}
        versions = {name: spec.version for name, spec in self._agents.items()}
        # First: who takes one of the tasks that the catalogue lets in is to know that there is another version.
        insist(lambda: fleet.publish_versions(self._store, versions), self._clock, self._drain_asked.is_set)
        insist(lambda: self._store.publish_catalogue(entries), self._clock, self._drain_asked.is_set)
        insist(lambda: self._hands.gates.declare(self._store, self._post.name), self._clock, self._drain_asked.is_set)
