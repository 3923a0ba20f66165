"""Leases under caps: never exceeded, whatever ends a lease; never an idle slot while something may run; in one step."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

import pytest
import redis

from proofq.policies.failure import Failure
from proofq.workers import cap_view, keys, task_view
from proofq.workers.audit import Audit
from proofq.workers.door import Event
from proofq.workers.record import Lease
from tests.capped import Capped, ended, task_of
from tests.heart import CLAIM, HOST, ISOLATION_MS, LOST, START, VERDICT

VERIFY = Event("verify", "worker", verdict=VERDICT)
GIVE_BACK = Event("give_back", "worker", "drains")
RETRY = Event("failed", "worker", failure=Failure("network", "for a reason", fingerprint="f"))


@pytest.fixture
def capped(redis_client: redis.Redis) -> Callable[..., Capped]:
    return lambda wishes, owners=("o",): Capped(redis_client, wishes, owners)


def _end_of(lease: Lease) -> Event:
    return {"leased": GIVE_BACK, "running": LOST, "claimed_done": VERIFY}[lease.task.state]


class Fleet:
    """Several owners that take random steps, the end of owners among them; after each the caps are counted anew."""

    #: Agent -> what is asked for it; cap -> (its agents, how many at once).
    WISHES: Final = {
        "a": "- agent:a 2 0 0 provider:p 3 0 0",
        "b": "- provider:p 3 0 0",
        "c": "- agent:c 1 4 1000",
        "free": "",
    }
    CAPS: Final = {"agent:a": ("a", 2), "provider:p": ("ab", 3), "agent:c": ("c", 1)}

    def __init__(self, client: redis.Redis, seed: int) -> None:
        self.chance = Random(seed)
        self.heart = Capped(client, self.WISHES, ["o0", "o1", "o2"])
        self.held: list[tuple[str, Lease]] = []
        self.begun: list[int] = []
        self.idle = self.leases = self.number = 0

    def step(self) -> None:
        heart, chance = self.heart, self.chance
        heart.hand.now_ms += chance.choice((0, 0, 1, 40, 300))
        acts: dict[Callable[[], None], int] = {self.enqueue: 6, self.lease: 12, self.go_on: 14, self.death: 1}
        chance.choices(list(acts), list(acts.values()))[0]()
        if chance.random() < 0.01:
            for owner in heart.owners:
                heart.store.beat(owner, ISOLATION_MS)
        self.look()

    def enqueue(self) -> None:
        agent = self.chance.choice(list(self.WISHES))
        if self.heart.waiting(agent) < 5:
            self.heart.born(agent)

    def lease(self) -> None:
        owner, request = self.chance.choice(self.heart.owners), self.heart.clock.token()
        self.took(owner, self.heart.next(owner, request))
        if self.chance.random() < 0.1:
            # Its reply was lost: the same again, and counted once.
            self.heart.next(owner, request)

    def took(self, owner: str, lease: Lease | None) -> None:
        if lease is None:
            self.idle += 1
            self.work_conserving()
            return
        self.leases += 1
        self.held.append((owner, lease))
        if lease.task.agent == "c":
            self.begun.append(self.heart.hand.now_ms)

    def go_on(self) -> None:
        if not self.held:
            return
        owner, lease = self.held.pop(self.chance.randrange(len(self.held)))
        event = {"leased": START, "running": CLAIM, "claimed_done": VERIFY}[lease.task.state]
        if self.chance.random() < 0.3:
            event = {"leased": GIVE_BACK, "running": RETRY, "claimed_done": VERIFY}[lease.task.state]
        wish = self.heart.wish(owner, queues=self.heart.queues) if self.chance.random() < 0.5 else None
        settled = self.heart.settled(lease, event, wish=lambda: wish)
        if settled.lease is not None:
            self.held.append((owner, settled.lease))
        elif wish is not None:
            self.took(owner, settled.next)

    def death(self) -> None:
        """An owner is killed at any moment: another takes its leases over, and settles them sooner or later."""
        heart = self.heart
        owner = heart.owners.pop(0)
        heart.store.bury(owner, HOST, {"dead": "1"})
        self.number += 1
        heart.enlist(successor := f"n{self.number}")
        heart.owners.append(successor)
        for mine, lease in [one for one in self.held if one[0] == owner]:
            self.held.remove((mine, lease))
            self.look()
            taken = heart.store.reap(
                heart.store.read(lease.task.id), owner, successor, slot="reaper", request=heart.clock.token(),
                death=True, reason="dead", who="r",
            )  # fmt: skip
            assert taken is not None
            if self.chance.random() < 0.8:
                heart.settled(taken, _end_of(taken))
            else:
                self.held.append((successor, taken))

    def look(self) -> None:
        """By what is really leased, not by what is counted."""
        runs = self.heart.leased()
        for cap, (agents, most) in self.CAPS.items():
            assert sum(one in agents for one in runs) <= most, cap
        recent = [at for at in self.begun if at > self.heart.hand.now_ms - 1000]
        assert len(recent) <= 4

    def work_conserving(self) -> None:
        """Nothing was leased: then each task that waits is under a cap that is reached."""
        runs, now = self.heart.leased(), self.heart.hand.now_ms
        reached = {cap for cap, (agents, most) in self.CAPS.items() if sum(one in agents for one in runs) >= most}
        if len([at for at in self.begun if at > now - 1000]) >= 4:
            reached.add("agent:c")
        for agent, said in self.WISHES.items():
            assert not self.heart.waiting(agent) or any(cap in said for cap in reached), agent


@pytest.mark.parametrize("seed", range(3))
def test_caps_hold_at_every_step_of_several_owners(redis_client: redis.Redis, seed: int) -> None:
    """700 random steps each: leases, ends of every kind, deaths, replies lost. Never one too many; and whoever is given
    nothing could be given nothing. In the end nothing is counted that does not run."""
    fleet = Fleet(redis_client, seed)
    for _ in range(700):
        fleet.step()
    assert fleet.leases > 80
    assert fleet.idle > 10
    while fleet.held:
        _, lease = fleet.held.pop()
        fleet.heart.settled(lease, _end_of(lease))
    assert [fleet.heart.indexed(cap) for cap in Fleet.CAPS] == [set()] * 3
    assert Audit(fleet.heart.store).run().violations == []


def test_what_waits_for_a_cap_costs_nothing(capped: Callable[..., Capped]) -> None:
    """No pickup, no attempt, no breadcrumb; it says what for; the end of the other lets it run in that very step."""
    heart = capped({"a": "- agent:a 1 0 0"})
    heart.store.describe("o", HOST, {"lane": "work", "state": "ready", "slots": 4, "caps": '{"a":"agent:a 1 0 0"}'})
    heart.born("a", 2)
    first = heart.next()
    assert first is not None
    assert heart.next() is None
    waits = heart.store.read("a2")
    assert (waits.state, waits.pickups, waits.attempt, heart.events("a2")) == ("queued", 0, 0, ["enqueue"])
    assert task_view.waiting_for(heart.store, waits) == {
        "what": "cap", "name": "a", "until": None, "of": "agent", "max_running": 1, "running": 1, "rate": None,
    }  # fmt: skip
    assert [one["waiting_for"]["what"] for one in task_view.listed(heart.store, [waits])] == ["cap"]
    for event in (START, CLAIM):
        settled = heart.settled(first, event).lease
        assert settled is not None
        first = settled
    following = heart.settled(first, VERIFY, wish=lambda: heart.wish(queues=heart.queues)).next
    assert following is not None
    assert following.task.id == "a2"
    assert heart.store.read("a1").fields.isdisjoint({"caps"})


def test_a_parked_task_holds_no_cap(capped: Callable[..., Capped]) -> None:
    """A retry waits deferred: its slot under the cap is another's meanwhile."""
    heart = capped({"a": "- agent:a 1 0 0"})
    heart.born("a", 2)
    lease = heart.next()
    assert lease is not None
    started = heart.settled(lease, START).lease
    assert started is not None
    heart.settled(started, RETRY)
    assert heart.store.read("a1").state == "deferred"
    assert heart.next() is not None


def test_room_rings_for_who_was_turned_away(capped: Callable[..., Capped]) -> None:
    """Once, by the cap's name, where the step that made room does not use it up; not where nobody was turned away."""
    heart = capped({"a": "- agent:a 1 0 0"})
    heart.born("a", 3)
    bell = heart.client.pubsub()
    bell.subscribe(keys.BELL)
    bell.get_message(timeout=5)

    def rung() -> list[str]:
        heart.client.publish(keys.BELL, "end")
        heard: list[str] = []
        while (said := bell.get_message(timeout=5)) is None or said["data"] != b"end":
            heard += [said["data"].decode()] if said else []
        return heard

    first = heart.next()
    assert first is not None
    heart.settled(first, GIVE_BACK)
    assert "agent:a" not in rung()
    second = heart.next()
    assert second is not None
    assert heart.next() is None
    heart.settled(second, GIVE_BACK)
    assert rung().count("agent:a") == 1
    third = heart.next()
    assert third is not None
    assert heart.next() is None
    fourth = heart.settled(third, GIVE_BACK, wish=lambda: heart.wish(queues=heart.queues)).next
    assert fourth is not None
    assert "agent:a" not in rung()
    heart.settled(fourth, GIVE_BACK)
    assert rung().count("agent:a") == 1
    fifth = heart.next()
    assert fifth is not None
    heart.settled(fifth, GIVE_BACK)
    assert "agent:a" not in rung()


def test_who_waits_for_a_cap_is_told_so(capped: Callable[..., Capped]) -> None:
    """Only while nobody could lease it: not where one worker has another cap, and not once a rate has room again."""
    heart = capped({"a": "- agent:a 0 1 1000"}, ["o", "p"])

    def ready(owner: str, caps: str) -> None:
        said = {"lane": "work", "state": "ready", "slots": 9, "agents": "a", "caps": f'{{"a":"{caps}"}}'}
        heart.store.describe(owner, HOST, said)

    ready("o", "agent:a 0 1 1000")
    ready("p", "agent:a 0 1 1000")
    assert cap_view.before(heart.store, "a", "work") is None
    heart.born("a", 2)
    assert heart.next() is not None
    assert cap_view.before(heart.store, "a", "work") is not None
    for owner in ("o", "p"):
        ready(owner, "agent:a 0 2 1000")
        assert cap_view.before(heart.store, "a", "work") is None
        ready(owner, "agent:a 0 1 1000")
    heart.client.lset(keys.starts("agent:a"), 0, 1_000)
    assert cap_view.before(heart.store, "a", "work") is None


def test_starts_within_any_time_are_at_most_the_rate(capped: Callable[..., Capped]) -> None:
    """Three within a second, however they are spread; the worker is told when to come back; memory stays bounded."""
    heart = capped({"a": "- agent:a 0 3 1000"})
    told: list[float] = []
    heart.born("a", 40)
    begun = []
    for _ in range(200):
        wish = heart.wish(queues=heart.queues)
        lease = heart.store.lease(type(wish)(**{**wish.__dict__, "later": told.append}))
        if lease is not None:
            begun.append(heart.hand.now_ms)
            heart.settled(lease, GIVE_BACK)
        heart.hand.now_ms += 37
    assert all(after - before >= 1000 for before, after in zip(begun, begun[3:], strict=False))
    # 200 looks take 7.4 s, in which not more than one look a start is lost.
    assert len(begun) >= 3 * 7
    assert told
    assert all(0 < wait <= 1 for wait in told)
    assert heart.client.llen(keys.starts("agent:a")) == 3
    assert 0 < heart.client.pttl(keys.starts("agent:a")) <= 86_401_000


def test_a_clock_that_is_put_back_makes_nobody_wait_for_it(capped: Callable[..., Capped]) -> None:
    """An hour back: the wait is a second at the most, and within it nobody begins."""
    heart = capped({"a": "- agent:a 0 1 1000"})
    heart.born("a", 2)
    assert heart.next() is not None
    heart.hand.now_ms -= 3_600_000
    assert heart.next() is None
    heart.hand.now_ms += 999
    assert heart.next() is None
    heart.hand.now_ms += 1
    assert heart.next() is not None


def test_a_cap_that_is_new_counts_what_runs_already(capped: Callable[..., Capped]) -> None:
    """Leased before anybody declared it, or its key was lost: it is counted all the same, a provider's too."""
    heart = capped({"a": "", "b": ""})
    heart.born("a", 2)
    heart.born("b", 2)
    assert all(heart.next() for _ in range(3))
    ran = sorted(heart.leased())
    heart.queues = ["work.a - provider:p 3 0 0", "work.b - provider:p 3 0 0"]
    assert heart.next() is None
    heart.client.delete(keys.running("provider:p"))
    assert heart.next() is None
    assert Audit(heart.store).run().violations == []
    assert sorted(heart.leased()) == ran
    heart.queues = ["work.a - provider:p 4 0 0", "work.b - provider:p 4 0 0"]
    assert heart.next() is not None


def test_a_lost_index_counts_what_the_asker_does_not_serve(capped: Callable[..., Capped]) -> None:
    """A provider's agents run on several workers: what was leased under its cap says so in its own row."""
    heart = capped({"a": "- provider:p 2 0 0"})
    heart.born("a", 2)
    heart.born("b", 1)
    assert all(heart.next() for _ in range(2))
    heart.client.delete(keys.running("provider:p"))
    heart.queues = ["work.b - provider:p 2 0 0"]
    assert heart.next() is None
    assert heart.indexed("provider:p") == {"a1", "a2"}


def test_what_holds_no_lease_is_counted_no_more(capped: Callable[..., Capped]) -> None:
    """A lease that ended in another way than a settlement (a row set aside) frees its place at the next look."""
    heart = capped({"a": "- agent:a 1 0 0"})
    heart.born("a", 2)
    assert heart.next() is not None
    heart.store.set_aside("a1", "o", "work.a", "for the test")
    assert heart.indexed("agent:a") == {"a1"}
    following = heart.next()
    assert following is not None
    assert heart.indexed("agent:a") == {following.task.id}


def test_tasks_without_a_cap_touch_none_of_it(capped: Callable[..., Capped]) -> None:
    """No key more, and no field."""
    heart = capped({"a": "", "b": "- agent:b 1 0 0"})
    heart.store.enqueue(task_of("a", "t"))
    lease = heart.next()
    assert lease is not None
    ended(heart, lease)
    assert not heart.client.keys(keys.RUNNING + "*")
    assert not heart.client.keys(keys.STARTS + "*")
