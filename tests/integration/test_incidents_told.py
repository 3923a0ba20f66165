"""Incidents in a real Redis: told by one of many, once, again while nobody acknowledges, and then no more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import redis

from proofq.policies import incident
from proofq.policies.failure import Failure
from proofq.policies.incident_rules import Rules
from proofq.workers import incidents, keys, notify, sinks
from proofq.workers.errors import Refused, UnknownIncident
from proofq.workers.incidents import Incident, Reporting
from proofq.workers.notify import Notifier
from proofq.workers.scripts import DamagedKey
from tests.incident_site import CAUSE_KEYS, Site
from tests.sinks import RecordingSink, recording

pytestmark = pytest.mark.both_binaries


@pytest.fixture
def site(redis_client: redis.Redis) -> Site:
    return Site(redis_client)


def test_it_waits_until_the_cause_is_quiet_and_no_longer_than_it_gathers(site: Site) -> None:
    """Each failure puts the first notification off by `quiet_s`, up to `gather_s` after the opening."""
    site.fail()
    site.fail()
    site.time.ms = 1_900
    assert site.claim() == []
    for _ in range(6):
        site.fail()
        site.time.ms += 1_500
        assert len(site.claim()) == (site.time.ms > 10_000)
    site.time.ms = 20_000
    assert incidents.every(site.store)[0].count == 8


def test_one_of_many_is_given_it(site: Site) -> None:
    """Eight threads claim at the same time: one gets it, and once it is told nobody does any more."""
    site.fail()
    site.fail()
    site.time.ms = 60_000
    got: list[Incident] = []
    barrier = threading.Barrier(8)

    def ask(number: int) -> None:
        barrier.wait()
        got.extend(incidents.claim(site.store, f"token{number}", 10))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (one,) = got
    token = site.client.hget(keys.incident(one.id), "claimed").decode()
    assert incidents.told(site.store, token, one.id, ["log"], "")
    assert not incidents.told(site.store, token, one.id, ["log"], ""), "sent again it is done"
    assert (site.one().notified, site.one().delivered) == (1, ("log",))
    assert site.claim() == []


def test_who_dies_while_telling_is_followed_by_another(site: Site) -> None:
    """Its claim times out after a minute; the late word of the first is refused; after three claims it is given up."""
    site.fail()
    site.fail()
    for _ in range(incidents.CLAIMS):
        site.time.ms += 60_001
        (one,) = site.claim()
        assert site.claim() == []
    site.time.ms += 60_001
    assert site.claim() == []
    assert not incidents.told(site.store, "somebody", one.id, [], "")
    assert site.one().notified == 1
    assert "did not come back" in site.one().problem


def test_escalations_end_and_it_is_parked(site: Site) -> None:
    """Told once, then at most M times more, each after its own wait; then nobody is told, whatever fails."""
    site.fail()
    site.fail()
    waits = [10, 1800, 3600, 7200]
    for number, wait_s in enumerate(waits):
        site.time.ms += wait_s * 1000 - 1_000
        assert number == 0 or site.claim() == []
        site.time.ms += 1_001
        token = f"token{number}"
        (one,) = incidents.claim(site.store, token, 10)
        assert one.notified == number
        incidents.told(site.store, token, one.id, [], "")
    assert (site.one().parked, site.one().escalations) == (True, 3)
    assert site.client.zcard(keys.ALERTS) == 0
    site.fail(Failure("crash", "again", fingerprint="other"))
    assert site.client.zcard(keys.ALERTS) == 0


def test_an_acknowledged_one_is_quiet(site: Site) -> None:
    """Failures go on being counted, and nobody is told; closed, the next two open another one."""
    site.fail()
    site.fail()
    first = site.one()
    assert incidents.acknowledge(site.store, first.id, "ann")
    assert not incidents.acknowledge(site.store, first.id, "bob"), "it is already"
    site.fail()
    site.time.ms = 100_000
    assert site.claim() == []
    assert (site.one().count, site.one().acked_by) == (3, "ann")
    assert incidents.close(site.store, first.id, "bob")
    with pytest.raises(Refused, match="closed"):
        incidents.acknowledge(site.store, first.id, "bob")
    site.fail()
    site.fail()
    open_, closed = site.all()
    assert (open_.state, open_.count) == ("open", 2)
    assert (closed.id, closed.state, closed.closed_by) == (first.id, "closed", "bob")
    with pytest.raises(UnknownIncident, match="proofq incident list"):
        incidents.close(site.store, "nobody", "bob")


def test_what_is_only_listed_tells_nobody(site: Site) -> None:
    """Rate limits come and go: after the third there is an incident, and no notification."""
    for _ in range(4):
        site.fail(Failure("rate_limited", "429", fingerprint="a"))
    assert (site.one().state, site.one().severity) == ("open", "info")
    assert site.client.zcard(keys.ALERTS) == 0


def test_only_the_first_notification_is_put_off(site: Site) -> None:
    """While it is being told, and once it was, a failure moves nothing: neither the claim's end nor the escalation."""

    def due() -> dict[bytes, float]:
        return dict(site.client.zrange(keys.ALERTS, 0, -1, withscores=True))

    site.fail()
    site.fail()
    site.time.ms = 20_000
    (one,) = incidents.claim(site.store, "t", 1)
    for told in (False, True):
        if told:
            incidents.told(site.store, "t", one.id, [], "")
        before = due()
        site.time.ms += 1_000
        site.fail()
        assert due() == before


def test_a_leaving_worker_may_tell_early(site: Site) -> None:
    """What still gathers is claimed then, and what is claimed by another is not."""
    site.fail()
    site.fail()
    assert site.claim() == []
    assert len(site.claim(early=True)) == 1
    assert site.claim(early=True) == []


def test_a_leaving_worker_without_a_sink_leaves_it_to_the_others(site: Site) -> None:
    """It would only log it, and nobody would be paged; the last worker of all logs it."""

    def leave() -> int:
        notifier = Notifier(site.store, [])
        notifier.start()
        notifier.leave()
        return site.one().notified

    site.fail()
    site.fail()
    assert leave() == 0
    site.client.delete(keys.OWNERS)
    assert leave() == 1


def test_all_of_a_claim_is_told_before_it_ends() -> None:
    """However long each sink takes: else another worker tells the same again."""
    assert notify.AT_ONCE * len(sinks.variables(Rules())) * notify.SINK_S < incidents.CLAIM_S


def test_what_grew_worse_after_it_opened_is_escalated(site: Site) -> None:
    """Opened by waits that named their end it is only listed; once nobody says until when people are told again."""
    for _ in range(3):
        site.fail(Failure("quota", "spent until noon", retry_after_s=60.0))
    assert (site.one().state, site.client.zcard(keys.ALERTS)) == ("open", 0)
    site.fail(Failure("quota", "spent"))
    site.time.ms = 20_000
    incidents.told(site.store, "t", incidents.claim(site.store, "t", 9)[0].id, [], "")
    assert not site.one().parked
    site.time.ms += 900_000
    assert [one.notified for one in site.claim()] == [1]


@pytest.mark.parametrize("act", [incidents.read, partial(incidents.acknowledge, who="me")])
def test_bytes_that_are_no_text_are_no_id(site: Site, act: Callable[..., Any]) -> None:
    """As a shell may give them."""
    with pytest.raises(UnknownIncident):
        act(site.store, "\udcff")


def test_who_can_only_log_leaves_it_to_others(site: Site) -> None:
    """Overdue by half a minute, it is told by anybody."""
    site.fail()
    site.fail()
    site.time.ms = 20_000
    assert site.claim(overdue_s=30) == []
    site.time.ms = 50_000
    assert len(site.claim(overdue_s=30)) == 1


# --- sinks that do not take it ---------------------------------------------------------------------------------------


@contextmanager
def _refused(site: Site) -> Iterator[tuple[Notifier, RecordingSink, RecordingSink]]:
    """An incident that was told, and that the first of two sinks did not take: who told it, and the sinks."""
    site.fail()
    site.fail()
    site.time.ms = 60_000
    with recording("refuses") as pager, recording() as sentry:
        notifier = sinks.notifier(site.store, Rules(), {"PROOFQ_NOTIFY_URLS": pager.url, "SENTRY_DSN": sentry.dsn})
        assert notifier.tell_due() == 1
        yield notifier, pager, sentry


def _due(site: Site, notifier: Notifier, after_s: float) -> bool:
    """Whether it is told once so much time is over, and not a second before."""
    site.time.ms += round(after_s * 1000) - 1_000
    assert notifier.tell_due() == 0
    site.time.ms += 1_001
    return notifier.tell_due() == 1


def test_who_did_not_take_it_is_given_it_again_and_nobody_else(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The same notification, without a second one for those that have it, and without an escalation."""
    with _refused(site) as (notifier, pager, sentry):
        assert (site.one().notified, site.one().delivered) == (1, ("sentry",))
        assert (site.one().pending, site.one().problem) == (("apprise",), "apprise: Undelivered")
        pager.mood = "takes"
        # Failures meanwhile bring it no earlier.
        site.fail()
        assert _due(site, notifier, incident.RETRIES_S[0])
        assert [page["title"].split(":")[0] for page in pager.pages()] == ["[proofq] error"] * 2
        assert "escalation" not in str(pager.pages())
        assert len(sentry.events()) == 1
        assert [record.msg for record in caplog.records].count("incident") == 1
        assert (site.one().notified, site.one().pending, site.one().problem) == (1, (), "")
        assert set(site.one().delivered) == {"apprise", "sentry"}
        assert _due(site, notifier, 1800)
        assert pager.pages()[-1]["title"].startswith("[proofq] critical: still open (escalation 1)")


def test_a_sink_that_never_takes_it_is_asked_three_times_more(site: Site) -> None:
    """Longer and longer apart, then with the next escalation; one that only another worker has is bounded, too."""
    with _refused(site) as (notifier, pager, sentry):
        for number, wait_s in enumerate(incident.RETRIES_S[:-1]):
            assert _due(site, notifier, wait_s)
            assert (len(pager.posted), site.one().tries) == (2 + number, 2 + number)
        elsewhere = sinks.notifier(site.store, Rules(), {"SENTRY_DSN": sentry.dsn})
        assert _due(site, elsewhere, incident.RETRIES_S[-1])
        assert (site.one().notified, site.one().pending, len(pager.posted)) == (1, (), 3)
        assert "no worker that told it has it" in site.one().problem
        assert _due(site, notifier, 1800)
        assert (site.one().notified, len(pager.posted), len(sentry.events())) == (2, 4, 1)
        # Somebody is at it: nobody is asked once more.
        assert incidents.acknowledge(site.store, site.one().id, "ann")
        site.time.ms += 10_000_000
        assert notifier.tell_due() == 0


# --- reports that are no attempt's -----------------------------------------------------------------------------------


def test_a_report_of_no_attempt_counts_once_for_its_task(site: Site) -> None:
    """Two jobs refused as they are adopted, each told twice by two workers: an incident of two."""
    found = {incidents.report(site.store, said(site), f"job{number % 2}") for number in range(4)}
    assert len(found) == 1
    assert (site.one().state, site.one().count, site.one().tasks) == ("open", 2, 2)
    assert (site.one().first_task, site.one().last_task) == ("job0", "job1")
    assert site.client.zcard(keys.ALERTS) == 1
    assert incidents.report(site.store, {}, "job3") == ""


def test_of_the_next_incident_the_same_task_may_tell_again(site: Site) -> None:
    """Who told of the last one has not told of this one."""
    incidents.report(site.store, said(site), "job0")
    site.time.ms = 3_600_001
    for name in ("job1", "job0", "job0"):
        incidents.report(site.store, said(site), name)
    assert site.one().count == 2


def test_who_acknowledges_what_has_not_opened_finds_it_in_the_list(site: Site) -> None:
    """As any other from then on; the next failures are counted, and nobody is told."""
    site.fail()
    assert incidents.every(site.store) == []
    assert incidents.acknowledge(site.store, site.one().id, "ann")
    assert [one.state for one in incidents.every(site.store)] == ["acked"]
    site.fail()
    (one,) = incidents.every(site.store)
    assert (one.state, one.count, site.client.zcard(keys.ALERTS)) == ("acked", 2, 0)


def test_verbs_name_a_strangers_key(site: Site) -> None:
    """DamagedKey for each key and verb, and nothing is written."""
    site.fail()
    site.fail()
    known = site.one().id
    acts: list[Callable[[], Any]] = [
        lambda: incidents.report(site.store, said(site), "r"),
        lambda: site.claim(),
        lambda: incidents.told(site.store, "t", known, [], ""),
        lambda: incidents.acknowledge(site.store, known, "me"),
        lambda: incidents.close(site.store, known, "me"),
    ]
    for key in CAUSE_KEYS:
        site.client.rename(key, "aside") if site.client.exists(key) else None
        site.client.set(key, "stranger")
        before = site.dump()
        for act in acts:
            with pytest.raises(DamagedKey, match=key):
                act()
        assert site.dump() == before
        site.client.delete(key)
        site.client.rename("aside", key) if site.client.exists("aside") else None
    assert incidents.close(site.store, known, "me")


def test_acts_sent_again_are_done_once(site: Site) -> None:
    """The very same script after a lost reply: nothing changes, and the word says so."""
    site.fail()
    site.fail()
    known = site.one().id
    for act, word in [
        (lambda: incidents.report(site.store, said(site), "r"), b"already"),
        (lambda: incidents.acknowledge(site.store, known, "me"), b"already"),
        (lambda: incidents.close(site.store, known, "me"), b"already"),
    ]:
        act()
        before = site.dump()
        assert site.runner.again()()[0] == word
        assert site.dump() == before


def said(site: Site) -> dict[str, Any]:
    return Reporting(site.rules, {}, site.clock).of(Failure("bad_input", "no such input"), "a")
