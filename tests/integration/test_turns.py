"""Whose turn it is: slots are shared by weight between all that wait, whoever was idle, capped or slow before."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from itertools import combinations

import pytest
import redis

from proofq.workers import keys
from proofq.workers.audit import Audit
from proofq.workers.door import Event
from proofq.workers.record import Lease
from proofq.workers.turns import Place, Turns
from tests.capped import Capped

GIVE_BACK = Event("give_back", "worker", "drains")


def served(heart: Capped, times: int, owner: str = "o") -> list[str]:
    """The agents of so many leases, one after the other, each given back at once so that all go on waiting."""
    found = []
    for _ in range(times):
        lease = heart.next(owner)
        assert lease is not None
        found.append(lease.task.agent)
        heart.settled(lease, GIVE_BACK)
    return found


def test_shares_are_by_weight_at_any_time(redis_client: redis.Redis) -> None:
    """Of slot time: in any interval in which two wait they differ, by weight, by no more than an attempt of each."""
    weights, costs = {"a": 1, "b": 2, "c": 3, "d": 8}, {"a": 30, "b": 10, "c": 20, "d": 10}
    heart = Capped(redis_client, {one: f"- {weights[one]}:{costs[one]}000" for one in weights}, ["o", "p"])
    for agent in weights:
        heart.born(agent, 2)
    given: dict[str, list[float]] = {one: [0.0] for one in weights}
    for number in range(300):
        agent = served(heart, 1, heart.owners[number % 2])[0]
        for one, sums in given.items():
            sums.append(sums[-1] + (costs[one] / weights[one] if one == agent else 0.0))
    for one, other in combinations(weights, 2):
        ahead = [mine - its for mine, its in zip(given[one], given[other], strict=True)]
        assert max(ahead) - min(ahead) <= costs[one] / weights[one] + costs[other] / weights[other] + 0.001
    assert Audit(heart.store).run().violations == []


def test_equals_take_turns_where_nothing_is_known(redis_client: redis.Redis) -> None:
    """Two that nobody has seen end are served one after the other; what weighs more, so much oftener."""
    heart = Capped(redis_client, {"a": "", "b": "", "c": "- 3:0"})
    for agent in "abc":
        heart.born(agent)
    assert Counter(served(heart, 25)) == {"a": 5, "b": 5, "c": 15}


def test_who_was_idle_has_saved_nothing_up(redis_client: redis.Redis) -> None:
    """One that comes after a hundred turns of another shares with it from then on, and gets no more than its share."""
    heart = Capped(redis_client, {"a": "- 1:1000", "b": "- 1:1000"})
    heart.born("a")
    assert set(served(heart, 100)) == {"a"}
    heart.born("b")
    assert Counter(served(heart, 20)) == {"a": 10, "b": 10}


def test_who_may_not_run_holds_nobody_up(redis_client: redis.Redis) -> None:
    """At its cap, behind a shut gate or paused it is passed over, and afterwards it has saved nothing up."""
    shut = "p:none 1:1000"
    wishes = {"capped": "- 1:1000 agent:capped 1 0 0", "shut": shut, "paused": "- 1:1000", "free": "- 1:1000"}
    heart = Capped(redis_client, wishes)
    heart.store.call("gate", "isolate_provider", "p", "test", heart.clock.token(), "for the test")
    heart.store.call("pause", "pause", "paused", "test")
    for agent in wishes:
        heart.born(agent, 2)
    while (first := heart.next()) is not None and first.task.agent != "capped":
        heart.settled(first, GIVE_BACK)
    assert set(served(heart, 30)) == {"free"}
    assert first is not None
    heart.settled(first, GIVE_BACK)
    heart.store.call("pause", "resume", "paused", "test")
    assert min(Counter(served(heart, 30)).values()) >= 9


def test_those_behind_a_shut_one_keep_their_turns(redis_client: redis.Redis) -> None:
    """Where the first in order may not begin, the others come in theirs, by weight."""
    heart = Capped(redis_client, {"shut": "p:none 1:1000", "a": "- 1:1000", "b": "- 3:1000"})
    heart.store.call("gate", "isolate_provider", "p", "test", heart.clock.token(), "for the test")
    for agent in ("shut", "a", "b"):
        heart.born(agent)
    assert Counter(served(heart, 40)) == {"a": 10, "b": 30}


def test_one_unseen_waits_for_its_first_end(redis_client: redis.Redis) -> None:
    """Beside others it runs alone until it has ended once; who knows its cost then charges what was run by that."""
    heart = Capped(redis_client, {"new": "- 1:0", "old": "- 1:1000"})
    heart.born("new", 3)
    heart.born("old", 3)
    assert Counter(served(heart, 40))["new"] == 1
    heart.queues = ["work.new - 1:2000", "work.old - 1:1000"]
    assert 9 <= Counter(served(heart, 30))["new"] <= 11
    # A worker that has just come knows what others have seen.
    heart.queues = ["work.new - 1:0", "work.old - 1:0"]
    assert 9 <= Counter(served(heart, 30))["new"] <= 11


def test_alone_it_gets_everything(redis_client: redis.Redis) -> None:
    """Seen or not, of whatever weight."""
    heart = Capped(redis_client, {"new": "- 1:0", "other": "- 1000:1000"})
    heart.born("new", 20)
    assert all(heart.next() for _ in range(20))


@pytest.mark.parametrize("known", [True, False])
def test_s49_a_slow_agent_takes_its_share_of_the_slots_and_no_more(redis_client: redis.Redis, known: bool) -> None:
    """A hundred times slower than nine others, on eight slots that are never idle: they begin at least four fifths of
    what they begin without it, at first sight too."""
    begun = {with_slow: _begun_in_40_s(redis_client, with_slow, known) for with_slow in (False, True)}
    alone = sum(begun[False].values())
    beside = sum(count for agent, count in begun[True].items() if agent != "slow")
    assert beside * 1.25 >= alone
    assert begun[True]["slow"] >= 1
    assert min(count for agent, count in begun[True].items() if agent != "slow") >= beside // 9 - 1


def _begun_in_40_s(client: redis.Redis, with_slow: bool, known: bool) -> Mapping[str, int]:
    """How many attempts of each begin in so long, by the test's clock, where all of them wait all the time."""
    client.flushall()
    takes = {f"f{number}": 1.0 for number in range(9)} | ({"slow": 100.0} if with_slow else {})
    heart = Capped(client, dict.fromkeys(takes, ""))
    turns = Turns([Place(keys.queue_of("work", agent)) for agent in takes])
    if known:
        for agent, seconds in takes.items():
            turns.began(keys.queue_of("work", agent), 0.0)
            turns.ended(keys.queue_of("work", agent), 0.0, seconds)
    for agent in takes:
        heart.born(agent, 9)
    begun: Counter[str] = Counter()
    slots = [(0.0, number) for number in range(8)]
    running: dict[int, tuple[float, Lease]] = {}
    while slots[0][0] < 40.0:
        now_s, slot = heapq.heappop(slots)
        if slot in running:
            began_s, lease = running.pop(slot)
            heart.settled(lease, GIVE_BACK)
            turns.ended(lease.task.queue, began_s, now_s)
        heart.queues = turns.asked(0.0, now_s)
        taken = heart.lease("o", slot=str(slot), queues=heart.queues)
        assert taken is not None, "a slot is idle"
        turns.began(taken.task.queue, now_s)
        running[slot] = now_s, taken
        begun[taken.task.agent] += 1
        heapq.heappush(slots, (now_s + takes[taken.task.agent], slot))
    return begun


def test_a_lease_sent_again_is_charged_once(redis_client: redis.Redis) -> None:
    """Its reply was lost: the grant is the same and so are the turns."""
    heart = Capped(redis_client, {"a": "- 1:1000", "b": "- 1:1000"})
    heart.born("a")
    heart.born("b")
    first = heart.next(request="r")
    before = heart.client.hgetall(keys.TURNS)
    assert heart.next(request="r") == first
    assert heart.client.hgetall(keys.TURNS) == before


def test_turns_that_cannot_be_read_stop_nothing(redis_client: redis.Redis) -> None:
    """A stranger's key in their place, or words that are no turns: everybody is served, and the key stays as it is."""
    heart = Capped(redis_client, {"a": "- 1:1000", "b": "- 1:1000"})
    heart.born("a")
    heart.born("b")
    heart.client.set(keys.TURNS, "stranger")
    leases = [heart.next(), heart.next()]
    assert {lease.task.agent for lease in leases if lease} == {"a", "b"}
    assert heart.client.get(keys.TURNS) == b"stranger"
    assert [one.subject for one in Audit(heart.store).run().violations] == [keys.TURNS]
    heart.client.delete(keys.TURNS)
    heart.client.hset(keys.TURNS, mapping={"work": "x", "work.a": "-", "work.b": "9 - x", "=work.a": "no"})
    for lease in leases:
        assert lease is not None
        heart.settled(lease, GIVE_BACK)
    assert Counter(served(heart, 10)) == {"a": 5, "b": 5}


def test_many_queues_of_which_few_hold_something(redis_client: redis.Redis) -> None:
    """Each of them is found, wherever it stands among 2,500; those of another type hide nobody."""
    names = [f"n{number}" for number in range(2500)]
    heart = Capped(redis_client, dict.fromkeys(names, "- 1:1000"))
    there = ["n0", "n7", "n8", "n999", "n1000", "n1001", "n2499"]
    for agent in there:
        heart.born(agent)
    heart.client.set(keys.rq_queue("work.n9"), "stranger")
    found = [heart.next() for _ in range(8)]
    assert sorted(lease.task.agent for lease in found if lease) == sorted(there)


def test_one_agent_alone_keeps_no_turns(redis_client: redis.Redis) -> None:
    """Nobody to share with: no key more."""
    heart = Capped(redis_client, {"a": "- 1:1000"})
    heart.born("a", 2)
    served(heart, 3)
    assert not heart.client.exists(keys.TURNS)
