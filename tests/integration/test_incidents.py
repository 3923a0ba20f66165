"""Incidents in a real Redis: counted in the step that settles, once each, and bounded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import redis

from proofq.policies import lifecycle
from proofq.policies.failure import Failure
from proofq.workers import incidents, keys
from proofq.workers.audit import Audit
from proofq.workers.door import Event
from proofq.workers.incidents import Reporting
from tests.heart import AGENT, LOST, REQUESTS, VERDICT, Request, birth
from tests.incident_site import CAUSE_KEYS, CRASH, Site

pytestmark = pytest.mark.both_binaries

#: Requests of the matrix that fail in some way.
FAILING = [one for one in REQUESTS if one.name in {"fail", "retry", "hold", "requeue", "expire"}]


@pytest.fixture
def site(redis_client: redis.Redis) -> Site:
    return Site(redis_client)


def test_the_second_equal_failure_opens_one_incident(site: Site) -> None:
    """One failure is only seen; the second opens it, and what follows is counted, with first, last and ten tasks."""
    site.fail()
    assert (site.one().state, site.one().count) == ("seen", 1)
    assert site.all(seen=False) == []
    for _ in range(49):
        site.fail()
    one = site.one()
    assert (one.state, one.count, one.tasks, one.severity) == ("open", 50, 50, "error")
    assert (one.first_task, one.last_task) == ("t1", "t50")
    assert one.samples == tuple(f"t{number}" for number in range(1, 11))
    assert (one.agent, one.fingerprint, one.kind) == (AGENT, "f00d", "crash")
    assert Audit(site.store).run().violations == []


def test_what_succeeds_costs_nothing(site: Site, redis_client: redis.Redis) -> None:
    """A verified task leaves no key of incidents, and its settlement says nothing of any."""
    site.store.enqueue(birth("t"))
    site.settled(site.claimed(), Event("verify", "worker", verdict=VERDICT))
    assert not redis_client.exists(*CAUSE_KEYS)
    assert '"incident"' not in str(site.runner.last)


def test_a_task_that_fails_again_is_one_task(site: Site) -> None:
    """Two attempts of a task are two failures of one task; its records name the incident."""
    site.fail(Failure("crash", "a bug", fingerprint="f00d"))
    site.time.ms = 3_600_000 - 1
    assert site.door.apply("t1", Event("due", "test")).ok
    site.fail(name="t1")
    assert (site.one().count, site.one().tasks) == (2, 1)
    assert [record["incident"] for record in site.store.attempts("t1")] == [site.one().id] * 2


def test_a_settlement_sent_again_counts_once(site: Site) -> None:
    """Its reply was lost: the very same script, twice over."""
    site.fail()
    again = site.runner.again()
    assert again()[0] == b"already"
    assert again()[0] == b"already"
    assert site.one().count == 1


def test_a_late_report_counts_not_at_all(site: Site) -> None:
    """Who lost its lease settles nothing and so counts nothing."""
    stale = site.fail()
    assert not site.door.settle(stale, Event("failed", "worker", failure=CRASH)).ok
    assert site.one().count == 1


def test_other_causes_are_other_incidents(site: Site) -> None:
    """Another fingerprint or class is another one."""
    site.fail()
    site.fail(Failure("crash", "a bug", fingerprint="beef"))
    site.fail(Failure("unknown", "?", fingerprint="f00d"))
    assert [one.count for one in site.all()] == [1, 1, 1]


def test_after_the_window_it_is_another_incident(site: Site) -> None:
    """The old one, still open, ends by itself; the new one has to reach the threshold again."""
    site.fail()
    site.fail()
    old = site.one()
    site.time.ms = 3_600_001
    site.fail()
    new, ended = sorted(site.all(), key=lambda one: one.id == old.id)
    assert (ended.state, ended.closed_by, ended.count) == ("closed", "window_s", 2)
    assert (new.state, new.count) == ("seen", 1)
    assert site.client.zcard(keys.ALERTS) == 0
    site.time.ms += 3_600_001
    site.fail()
    assert len(site.all()) == 2, "one that never opened is forgotten"


def test_an_expired_task_tells_its_last_class(site: Site) -> None:
    """Who waited too long for a provider counts towards its incident, though no attempt failed then."""
    site.fail(Failure("network", "reset"))
    assert site.door.apply("t1", Event("expire", "test")).ok
    assert (site.one().kind, site.one().count) == ("network", 2)


def test_a_cancel_is_nobodys_trouble(site: Site) -> None:
    """Neither of a queued nor of a running task."""
    site.store.enqueue(birth("t"))
    assert site.door.apply("t", Event("cancel", "test", "asked")).ok
    assert site.all() == []


@pytest.mark.parametrize("key", CAUSE_KEYS)
@pytest.mark.parametrize("request_", FAILING, ids=str)
def test_a_strangers_key_keeps_no_task_from_moving(redis_client: redis.Redis, request_: Request, key: str) -> None:
    """Nothing is counted then, the task is settled all the same, and the stranger's key stays as it was."""
    site = Site(redis_client)
    redis_client.flushall()
    act = request_.ready(site)
    redis_client.delete(key)
    redis_client.set(key, "stranger")
    act(lambda: True)
    assert site.store.read("t").state == request_.state
    assert redis_client.get(key) == b"stranger"
    redis_client.delete(key)
    assert Audit(site.store).run().violations == []


@pytest.mark.parametrize("field", ["count", "tasks", "samples", "last_at", "opened_at", "state"])
def test_a_broken_row_keeps_no_task_from_moving(site: Site, field: str) -> None:
    """Whatever somebody wrote into an incident, failures go on being settled and counted."""
    site.fail()
    site.fail()
    site.client.hset(keys.incident(site.one().id), field, "x{")
    site.fail()
    assert sum(one.count for one in site.all()) >= 1
    assert Audit(site.store).run().violations == []
    site.client.set(keys.incident(site.all()[0].id), "stranger")
    site.fail()
    assert site.store.read("t4").state == lifecycle.DEFERRED


def test_a_full_redis_counts(site: Site, redis_client: Any) -> None:
    """At its maxmemory a failure is settled and counted as ever."""
    site.fail()
    site.store.enqueue(birth("t2"))
    started = site.running()
    redis_client.config_set("maxmemory", 1)
    try:
        site.settled(started, Event("failed", "worker", failure=CRASH))
        site.time.ms = 60_000
        (due,) = site.claim()
        assert incidents.acknowledge(site.store, due.id, "me")
    finally:
        redis_client.config_set("maxmemory", 0)
    assert site.one().count == 2


def test_what_is_kept_is_bounded(site: Site) -> None:
    """1,200 causes leave at most 500 that never opened and 500 that did, in bounded memory; the newest stay."""
    plan = _plan(site, "")
    for number in range(1200):
        cause = f"c{number:015}"
        said = {**plan, "cause": cause, "id": f"i{number}", "opens_at": 1 + number % 2}
        assert site.store.call("incident", "report", _json(said), f"r{number}")[0] == b"done"
    assert site.client.zcard(keys.SEEN) == 500
    assert site.client.zcard(keys.INCIDENTS) == 500
    assert site.client.hlen(keys.CAUSES) == 1000
    assert len(site.client.keys(f"{keys.INCIDENT}*")) == 1000
    assert site.client.zcard(keys.ALERTS) == 500
    assert site.client.exists(keys.incident("i1199"))
    used = sum(site.client.memory_usage(key) for key in site.client.keys("proofq:*"))
    assert used < 2_000_000


def test_old_ones_go(site: Site) -> None:
    """After `keep_s` without a failure the next incident that opens sweeps them away."""
    site.fail()
    site.fail()
    site.time.ms = 8 * 86_400_000
    site.fail(Failure("policy_error", "x"))
    assert [one.kind for one in site.all()] == ["policy_error"]


def test_an_old_one_that_goes_takes_no_newer_one_along(site: Site) -> None:
    """Of one cause: swept away by the opening of the next, which goes on being counted."""
    site.fail()
    site.fail()
    assert incidents.close(site.store, site.one().id, "me")
    site.time.ms = 8 * 86_400_000
    for _ in range(3):
        site.fail()
    assert (site.one().state, site.one().count) == ("open", 3)


def test_a_death_is_counted_by_who_settles_it(site: Site) -> None:
    """What a killed child cannot say its supervisor, or a reaper, settles: counted like any other."""
    for _ in range(3):
        site.store.enqueue(birth(name := f"d{_}"))
        started = site.running()
        assert started.task.id == name
        site.settled(started, replace(LOST))
        assert site.door.apply(name, Event("cancel", "test")).ok
    assert (site.one().kind, site.one().state, site.one().count) == ("lost_worker", "open", 3)


def _plan(site: Site, agent: str) -> dict[str, Any]:
    return {**Reporting(site.rules, {}, site.clock).of(CRASH, agent)}


def _json(said: dict[str, Any]) -> str:
    from proofq.workers.rq_view import compact

    return compact(said)
