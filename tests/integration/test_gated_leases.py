"""Tasks behind a gate: never popped while it is shut, and how their ends move it, all in the steps there are anyway."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from proofq.policies import gate, lifecycle
from proofq.policies.agent import Provider
from proofq.policies.failure import Failure
from proofq.policies.settlement import Limits
from proofq.workers import gates, keys
from proofq.workers.audit import Audit
from proofq.workers.door import Door, Event
from proofq.workers.gate_change import Change
from proofq.workers.gate_reports import GateReports
from proofq.workers.leasing import Wish
from proofq.workers.record import Lease
from tests.heart import CLAIM, HOST, LOST, QUEUE, START, VERDICT, Heart, birth

NAME = gate.name("p", gate.fingerprint("k"))
PROVIDER = Provider("p", "KEY", min_calls=2)
VERIFY = Event("verify", "worker", verdict=VERDICT)


class Gated(Heart):
    """A heart whose one queue passes a gate."""

    def __init__(self, client: redis.Redis, tasks: int) -> None:
        super().__init__(client)
        self.changes: list[Change] = []
        self.later: list[float] = []
        self.door = Door(self.store, Limits(), gates=GateReports({"p": PROVIDER}, self.changes.append))
        self.enlist("o")
        for number in range(tasks):
            self.store.enqueue(birth(f"t{number}"))
        gates.declare(self.store, [PROVIDER], {"KEY": "k"}, "test")

    def wish(self, owner: str = "o", slot: str = "0", request: str = "", queues: Any = ()) -> Wish:
        return Wish(
            owner, slot, request or self.clock.token(), [f"{QUEUE} {NAME}"], "worker", "host", self.later.append
        )

    def ends(self, event: Event, lease: Lease | None = None) -> None:
        """One attempt from its lease to its end."""
        started = self.settled(lease or self.held(), START).lease
        assert started is not None
        if event is VERIFY:
            started = self.settled(started, CLAIM).lease
            assert started is not None
        self.settled(started, event)

    def opened(self) -> Gated:
        self.ends(VERIFY)
        return self

    def state(self) -> str:
        return gates.read(self.store, NAME).state


def _failed(kind: str, wait_s: float | None = None, fingerprint: str = "f") -> Event:
    failure = Failure(kind, "said so", "provider", retry_after_s=wait_s, fingerprint=fingerprint)
    return Event("failed", "worker", failure=failure)


@pytest.fixture
def heart(redis_client: redis.Redis) -> Callable[[int], Gated]:
    """So many tasks behind a gate whose key nobody has seen before."""
    return lambda tasks: Gated(redis_client, tasks)


def test_a_new_key_is_tried_by_one_task(heart: Callable[[int], Gated]) -> None:
    """The others stay queued as they are: no pickup, no attempt, no breadcrumb; its success lets them all go."""
    fleet = heart(3)
    probe = fleet.held()
    assert probe.admission is not None
    assert probe.admission.probe
    assert fleet.lease() is None
    assert [fleet.store.read(one).pickups for one in ("t0", "t1", "t2")] == [1, 0, 0]
    assert fleet.events("t1") == ["enqueue"]
    fleet.ends(VERIFY, probe)
    assert [change.event for change in fleet.changes] == ["recover"]
    plain = fleet.held()
    assert plain.admission == gate.Admission(NAME, gates.read(fleet.store, NAME).epoch)
    assert fleet.held().task.id == "t2"
    assert Audit(fleet.store).run().violations == []


def test_a_probe_that_ends_without_a_say_frees_the_next(heart: Callable[[int], Gated]) -> None:
    """A crash, a cancel, a drain: nothing of the provider is known, and the next task tries."""
    fleet = heart(3)
    for event in (_failed("crash"), Event("give_back", "worker", "drains"), LOST):
        fleet.ends(event)
        assert (fleet.state(), fleet.changes) == ("probing", [])
    assert fleet.lease() is not None


def test_a_probe_that_was_reaped_is_free(heart: Callable[[int], Gated]) -> None:
    """Its owner is dead: once its lease is another's, the next task tries; the reaper's settlement tells nothing."""
    fleet = heart(2)
    probe = fleet.settled(fleet.held(), START).lease
    assert probe is not None
    fleet.store.bury("o", HOST, {"dead": "1"})
    fleet.enlist("r")
    assert fleet.lease("r") is None
    taken = fleet.store.reap(probe.task, "o", "r", slot="reaper", request="q", death=True, reason="dead", who="r")
    assert taken is not None
    assert taken.admission is None
    again = fleet.lease("r")
    assert again is not None
    assert again.admission is not None
    assert again.admission.probe
    fleet.settled(taken, LOST)
    assert fleet.changes == []


def test_one_slow_down_keeps_all_waiting(heart: Callable[[int], Gated]) -> None:
    """Nothing is leased until then, the slot is told when that is, and the attempt is not counted."""
    fleet = heart(4).opened()
    late = fleet.held()
    fleet.ends(_failed("rate_limited", 30.0))
    assert fleet.state() == "cooling"
    assert fleet.lease() is None
    assert 29 < fleet.later[-1] < 32
    fleet.ends(VERIFY, late)
    assert fleet.state() == "cooling"
    task = fleet.store.read("t2")
    assert (task.state, task.counted) == (lifecycle.DEFERRED, 0)


def test_a_trip_and_its_next_lease_are_one_step(heart: Callable[[int], Gated]) -> None:
    """The failure that trips the gate brings no further task to its slot."""
    fleet = heart(4).opened()
    one, other = fleet.held(), fleet.held()
    fleet.ends(_failed("overloaded"), one)
    started = fleet.settled(other, START).lease
    assert started is not None
    settled = fleet.settled(started, _failed("network"), wish=fleet.wish)
    assert settled.next is None
    assert [change.event for change in fleet.changes] == ["recover", "trip"]
    assert fleet.store.read("t1").counted == 1


@pytest.mark.parametrize("kind", ["auth", "quota"])
def test_a_refused_key_holds_the_gate_and_no_task(heart: Callable[[int], Gated], kind: str) -> None:
    """Two are refused, both go back to their queue uncounted, one page; opened by hand they all run."""
    fleet = heart(3)
    fleet.ends(_failed(kind))
    fleet.ends(_failed(kind))
    assert fleet.lease() is None
    assert [change.event for change in fleet.changes] == ["suspect", "hold"]
    tasks = [fleet.store.read(f"t{number}") for number in range(3)]
    assert [(task.state, task.counted) for task in tasks] == [(lifecycle.QUEUED, 0)] * 3
    gates.act(fleet.store, "open", "p", "ann", "mended")
    for _ in range(3):
        fleet.ends(VERIFY)
    assert {fleet.store.read(f"t{number}").state for number in range(3)} == {lifecycle.VERIFIED}
    assert Audit(fleet.store).run().violations == []


def test_a_refusal_that_is_the_tasks_own_holds_it(heart: Callable[[int], Gated]) -> None:
    """Others are let through with the same key: after five refusals in a row the task is held for a human."""
    fleet = heart(1).opened()
    for number in range(5):
        if number == 0:
            fleet.store.enqueue(birth("own"))
        fleet.ends(_failed("auth"))
        fleet.store.enqueue(birth(f"good{number}"))
        # The probe that confirms nothing.
        while (lease := fleet.lease()) is not None and lease.task.id == "own":
            fleet.settled(lease, Event("give_back", "worker", "after the others"))
        assert lease is not None
        fleet.ends(VERIFY, lease)
    task = fleet.store.read("own")
    assert task.state == lifecycle.HELD
    assert task.equal_failures == 4


def test_without_a_gate_a_refusal_holds_the_task(redis_client: redis.Redis) -> None:
    """An agent without a provider has nothing to wait at: as ever."""
    heart = Heart(redis_client)
    heart.enlist("o")
    heart.store.enqueue(birth("t"))
    heart.settled(heart.running(), _failed("auth"))
    assert heart.store.read("t").state == lifecycle.HELD


def test_sent_again_a_lease_is_the_same_admission(heart: Callable[[int], Gated]) -> None:
    """The reply was lost: the same task, the same epoch, and the probe is one."""
    fleet = heart(2)
    wish = fleet.wish(request="r1")
    first, again = fleet.store.lease(wish), fleet.store.lease(wish)
    assert first is not None
    assert again is not None
    assert (first.fence, first.admission) == (again.fence, again.admission)


def test_a_settlement_sent_again_tells_of_its_move_again(heart: Callable[[int], Gated]) -> None:
    """The reply that says that the gate is held was lost: whoever insists hears it, and the gate moved once."""
    fleet = heart(3)
    fleet.ends(_failed("auth"))
    fleet.ends(_failed("auth"))
    answer = fleet.runner.again()()
    assert answer[0] == b"already"
    change = Change.parse(answer[3])
    assert change is not None
    assert (change.event, change.to) == ("hold", "held")
    assert [row[2] for row in gates.crumbs(fleet.store, NAME)].count("hold") == 1


def test_an_attempt_whose_calls_have_spoken_says_nothing(heart: Callable[[int], Gated]) -> None:
    """What it ends by its gate has heard already; as the probe it makes room for the next one."""
    fleet = heart(4).opened()
    for _ in range(3):
        fleet.ends(replace(_failed("overloaded"), called=True))
    assert fleet.state() == "open"


def test_a_failure_that_is_sent_again_speaks_once(heart: Callable[[int], Gated]) -> None:
    """Two of them would trip it, and there was one."""
    fleet = heart(3).opened()
    fleet.ends(_failed("overloaded"))
    assert fleet.runner.again()()[0] == b"already"
    assert fleet.state() == "open"


@pytest.mark.parametrize("key", [keys.gate(NAME), keys.gate_crumbs(NAME), keys.GATES, keys.ISOLATED])
def test_a_strangers_key_keeps_no_attempt_from_its_end(heart: Callable[[int], Gated], key: str) -> None:
    """Whatever stands in its place: it settles. A damaged gate lets nobody else through; other keys change nothing."""
    fleet = heart(3).opened()
    lease = fleet.held()
    fleet.client.delete(key)
    fleet.client.set(key, "stranger")
    fleet.ends(_failed("rate_limited", 30.0), lease)
    assert fleet.client.get(key) == b"stranger"
    assert fleet.store.read("t1").state == lifecycle.DEFERRED
    assert fleet.lease() is None
    assert (fleet.state() == gates.DAMAGED) == (key == keys.gate(NAME))


def test_what_it_costs(heart: Callable[[int], Gated]) -> None:
    """Nothing wrong: one HMGET inside the lease's own step, and nothing more to the end of the task."""
    fleet = heart(4).opened()

    def calls() -> dict[str, int]:
        stats: dict[str, Any] = fleet.client.info("commandstats")
        return {name.removeprefix("cmdstat_"): row["calls"] for name, row in stats.items() if name != "cmdstat_info"}

    def cost(life: Callable[[], None]) -> dict[str, int]:
        fleet.client.config_resetstat()
        life()
        spent = calls()
        return {name: count for name, count in spent.items() if not name.startswith(("config", "script"))}

    gated = cost(lambda: fleet.ends(VERIFY))
    plain = Heart(fleet.client)
    free = cost(lambda: fleet.ends(VERIFY, plain.held()))
    assert {name: gated[name] - free.get(name, 0) for name in gated if gated[name] != free.get(name)} == {"hmget": 1}


def _cooled(fleet: Gated) -> None:
    """Opened, told to wait for a second, and that is over; the clock stands still from now on."""
    fleet.opened()
    fleet.ends(_failed("rate_limited", 1.0))
    later = fleet.client.time()[0] * 1000 + 60_000
    fleet.clock.script_now = lambda: str(later)  # type: ignore[method-assign]


def test_a_ramp_is_as_fast_as_was_needed_at_its_begin(heart: Callable[[int], Gated]) -> None:
    """Ten that wait: one in 800 ms, also once there are fewer."""
    fleet = heart(12)
    _cooled(fleet)
    for turn in range(3):
        fleet.held()
        assert fleet.lease() is None
        assert fleet.later[-1] == pytest.approx(0.8)
        now = str(int(fleet.clock.script_now()) + 800)
        fleet.clock.script_now = lambda now=now: now  # type: ignore[method-assign, misc]
        assert fleet.client.llen(keys.rq_queue(QUEUE)) == 9 - turn


def test_a_ramp_of_thousands_is_a_ramp(heart: Callable[[int], Gated]) -> None:
    """More of them than it has milliseconds: still one after another, and not all slots in one instant."""
    fleet = heart(4)
    _cooled(fleet)
    fleet.client.rpush(keys.rq_queue(QUEUE), *(f"x{number}" for number in range(20_000)))
    fleet.held()
    assert fleet.lease() is None


def test_a_gate_that_a_lease_has_made_is_listed(heart: Callable[[int], Gated]) -> None:
    """Somebody deleted it, or its worker could not declare it."""
    fleet = heart(1)
    fleet.client.delete(keys.gate(NAME), keys.GATES)
    fleet.held()
    assert [one.name for one in gates.read_all(fleet.store)] == [NAME]
