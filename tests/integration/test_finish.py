"""An end that brings the next lease: one call, one step, and never less than the end itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from proofq.policies.failure import Failure
from proofq.workers import connection, keys
from proofq.workers.audit import Audit
from proofq.workers.door import Event
from proofq.workers.leasing import Wish
from tests.heart import CLAIM, HOST, ISOLATION_MS, QUEUE, VERDICT, Heart, birth
from tests.proxy import LosingProxy
from tests.servers import PrivateServer

VERIFY = Event("verify", "worker", verdict=VERDICT)


@pytest.fixture
def heart(redis_client: redis.Redis) -> Heart:
    """One owner and three tasks."""
    made = Heart(redis_client)
    made.enlist("o")
    for name in ("t", "u", "v"):
        made.store.enqueue(birth(name))
    return made


def test_the_end_of_one_is_the_lease_of_the_next(heart: Heart) -> None:
    """One script, and both are as if they had been asked for one after the other."""
    lease = heart.claimed()
    heart.client.config_resetstat()
    settled = heart.settled(lease, VERIFY, wish=heart.wish)
    assert heart.client.info("commandstats")["cmdstat_evalsha"]["calls"] == 1
    assert settled.state == "verified"
    assert settled.next is not None
    assert (settled.next.task.id, settled.next.task.state, settled.next.slot) == ("u", "leased", "0")
    assert heart.store.leases_of("o") == ["u"]
    assert heart.settled(settled.next, Event("start", "worker", fields={"pid": 1, "start_ticks": 1})).ok
    assert Audit(heart.store).run().violations == []


def test_an_event_that_keeps_the_lease_asks_for_nothing(heart: Heart) -> None:
    """Nor does it ask what the slot would want."""
    assert heart.settled(heart.running(), CLAIM, wish=lambda: pytest.fail("the slot is not free")).next is None
    assert heart.store.leases_of("o") == ["t"]


def test_who_comes_too_late_gets_nothing(heart: Heart) -> None:
    """The lease was taken over meanwhile: its slot asks for itself, as one that is sure of nothing."""
    lease = heart.claimed()
    heart.store.bury("o", HOST, {"dead": "1"})
    heart.enlist("r")
    assert heart.store.reap(lease.task, "o", "r", slot="reaper", request="x", death=True, reason="dead", who="r")
    heart.enlist("o")
    assert heart.door.settle(lease, VERIFY, wish=heart.wish).next is None
    assert heart.store.read("u").state == "queued"


def test_nothing_waits(heart: Heart) -> None:
    """The end is written, and there is no lease."""
    lease = heart.claimed()
    assert heart.settled(lease, VERIFY, wish=lambda: heart.wish(queues=["work.other"])).next is None


@pytest.mark.parametrize("trouble", ["silent", "suspended", "unreadable"])
def test_what_stands_against_a_lease_does_not_stand_against_the_end(heart: Heart, trouble: str) -> None:
    """A late beat, RQ's suspend, a row nobody can read: the end is written all the same."""
    lease = heart.claimed()
    if trouble == "silent":
        heart.client.zadd(keys.OWNERS, {"o": 1})
    elif trouble == "suspended":
        heart.client.set("rq:suspended", 1)
    else:
        heart.client.hset(keys.task("u"), "inputs", "{")
    assert heart.settled(lease, VERIFY, wish=heart.wish).next is None
    assert heart.store.read("t").state == "verified"
    assert heart.store.leases_of("o") == []
    if trouble == "unreadable":
        assert heart.client.hexists(keys.STRAYS, "u")
        assert heart.held().task.id == "v"


def test_what_was_given_back_may_come_again(heart: Heart) -> None:
    """The very task that ended: under a new fence, as a new attempt."""
    for other in ("u", "v"):
        heart.door.apply(other, Event("cancel", "test", "not needed"))
    settled = heart.settled(heart.running(), Event("give_back", "worker", "for a reason"), wish=heart.wish)
    assert settled.next is not None
    assert (settled.next.task.id, settled.next.task.attempt) == ("t", 2)
    assert Audit(heart.store).run().violations == []


def test_a_cancel_asked_meanwhile_goes_first(heart: Heart) -> None:
    """The event is decided anew, and the slot still gets its next task with it."""
    lease = heart.running()
    heart.door.apply("t", Event("cancel", "test", "not needed"))
    failed = Event("failed", "worker", failure=Failure("network", "reset"))
    settled = heart.settled(lease, failed, wish=heart.wish)
    assert settled.state == "cancelled"
    assert settled.next is not None
    assert settled.next.task.id == "u"


@pytest.fixture(params=["pool", "own"])
def lossy(
    redis_server: PrivateServer, heart: Heart, request: pytest.FixtureRequest
) -> Iterator[tuple[LosingProxy, Heart]]:
    """The same server, by a way on which replies can be lost."""
    with LosingProxy(redis_server.socket) as proxy:
        client = connection.client(proxy.url)
        yield proxy, Heart(client, own_connections=request.param == "own")
        client.close()


def test_lost_replies(lossy: tuple[LosingProxy, Heart]) -> None:
    """Insisted on, it is one end and one lease, though others wait; what is asked for is one wish all the time."""
    proxy, heart = lossy
    lease = heart.claimed()
    wishes: list[Wish] = []

    def wish() -> Wish:
        wishes.append(heart.wish())
        return wishes[-1]

    proxy.lose_next(2)
    settled = heart.settled(lease, VERIFY, lambda: False, wish)
    assert proxy.lost == 2
    assert settled.next is not None
    assert settled.next.task.id == "u"
    assert heart.store.leases_of("o") == ["u"]
    assert heart.events("t").count("verify") == 1
    assert len(wishes) == 1
    assert Audit(heart.store).run().violations == []


def test_a_lease_that_nobody_heard_of_is_given_up(lossy: tuple[LosingProxy, Heart]) -> None:
    """The worker leaves before it hears the answer: its owner is buried, and what it got there is to be had again."""
    proxy, heart = lossy
    lease = heart.claimed()
    proxy.lose_next()
    with pytest.raises(Exception, match="Redis did not answer"):
        heart.door.settle(lease, VERIFY, lambda: True, heart.wish)
    heart.store.bury("o", HOST, {"dead": "1", "left": "1"})
    heart.enlist("r")
    taken = heart.store.reap(
        heart.store.read("u"), "o", "r", slot="reaper", request="x", death=False, reason="left", who="r"
    )
    assert taken is not None
    assert heart.store.read("t").state == "verified"
    heart.settled(taken, Event("give_back", "r", "its worker left"))
    assert Audit(heart.store).run().violations == []


def test_queues_are_looked_at_in_the_order_of_the_wish(heart: Heart) -> None:
    """As by a lease of its own."""
    lease = heart.claimed()
    settled = heart.settled(lease, VERIFY, wish=lambda: heart.wish(queues=["work.other", QUEUE]))
    assert settled.next is not None
    assert settled.next.task.queue == QUEUE


def test_a_beat_knows_what_the_end_brought(heart: Heart) -> None:
    """It renews the new lease, and the old one is gone."""
    settled = heart.settled(heart.claimed(), VERIFY, wish=heart.wish)
    assert settled.next is not None
    beat = heart.store.beat("o", ISOLATION_MS)
    assert beat is not None
    assert beat.held == {"u": (settled.next.fence, False)}


def test_an_owner_that_is_forgotten_leaves_nothing(heart: Heart) -> None:
    """What it was granted is remembered for replies that were lost, and no longer than it may ask."""
    settled = heart.settled(heart.claimed(), VERIFY, wish=heart.wish)
    assert settled.next is not None
    heart.settled(settled.next, Event("give_back", "worker", "it leaves"))
    assert heart.client.exists(keys.GRANTS + "o")
    heart.store.bury("o", HOST, {"left": "1"})
    assert heart.store.forget("o", HOST)
    assert [key for key in heart.client.keys("*") if key.endswith(b":o")] == []
