"""Incidents with real workers and real sinks on loopback: fifty equal failures are one, and people are told once."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import redis
import rq
from rq.serializers import JSONSerializer

from proofq.workers import incidents, keys, status
from proofq.workers.audit import Audit
from proofq.workers.incidents import Incident
from tests.acceptance.harness import Site
from tests.sinks import RecordingSink, recording
from tests.waiting import until

FAILURES = 50
AGENTS = """
[agents.dead_end]
max_attempts = 1
command = ["/bin/sh", "-c", "echo secret-input {text} >&2; exit 3"]
inputs = { text = "str" }
pass_env = ["PQ_SITE_MARK"]
unproven = true

[agents.killed_child]
command = ["/bin/sh", "-c", "kill -9 $$"]
pass_env = ["PQ_SITE_MARK"]
max_attempts = 1
unproven = true
"""
#: Long enough for a busy machine to run one of fifty tasks meanwhile.
QUIET_S = 5.0


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as made:
        with (made.project / "proofq.toml").open("a") as toml:
            toml.write(f"{AGENTS}\n[incidents]\ngather_s = 90\nquiet_s = {QUIET_S}\n")
        yield made


@pytest.fixture
def sink() -> Iterator[RecordingSink]:
    with recording() as opened:
        yield opened


def environ(sink: RecordingSink) -> dict[str, str]:
    return {"SENTRY_DSN": sink.dsn, "PROOFQ_NOTIFY_URLS": sink.url}


def the_one(site: Site) -> Incident:
    found = incidents.every(site.store, seen=True)
    assert len(found) == 1, found
    return found[0]


def lines(site: Site, event: str) -> list[str]:
    """Lines of that event in the logs of all workers."""
    return [
        line for worker in site.workers for line in worker.log_path.read_text().splitlines() if f" {event} " in line
    ]


def test_fifty_equal_failures_are_one_incident(site: Site, sink: RecordingSink) -> None:
    """Four workers report two causes at the same time: for each one incident of 50, one page, one Sentry event with the
    count and a fingerprint of ours, one line in one log; also for children that are killed. No secret gets out."""
    causes = {"dead_end": ("crash", {"text": "of a task"}), "killed_child": ("resource", {})}
    ids = [site.enqueue(agent, **inputs) for _ in range(FAILURES) for agent, (_, inputs) in causes.items()]
    for _ in range(4):
        site.start(environ=environ(sink))
    site.wait_all(ids, 90.0)
    until(lambda: all(one.notified for one in incidents.every(site.store, seen=True)), QUIET_S + 30.0, "both told")
    assert len(incidents.every(site.store, seen=True)) == len(causes)
    found = {one.agent: one for one in incidents.every(site.store, seen=True)}
    events = {event["fingerprint"][1]: event for event in sink.events()}
    for agent, (kind, _) in causes.items():
        one = found[agent]
        assert (one.state, one.count, one.tasks, one.kind) == ("open", FAILURES, FAILURES, kind)
        assert (one.delivered, one.problem) == (("apprise", "sentry"), "")
        event = events[one.cause]
        assert (event["extra"]["count"], event["tags"]["occurrences"]) == (FAILURES, str(FAILURES))
        assert event["fingerprint"] == ["proofq", one.cause]
    assert len(sink.events()) == len(sink.pages()) == len(causes)
    assert all(f"{FAILURES} failures of {FAILURES} tasks" in page["message"] for page in sink.pages())
    assert len(sink.posted) == 2 * len(causes)
    assert len(lines(site, "incident")) == len(causes)
    assert lines(site, "sink_failed") == []
    told = b"".join(body for _, body in sink.posted)
    assert b"secret-input" not in told
    assert b"of a task" not in told
    for secret in ("sentrysecret", "pagesecret"):
        assert secret not in site.logs()
        assert not [key for key in site.client.keys("*") if secret.encode() in (site.client.dump(key) or b"")]
    shown = status.read(site.store)
    assert {row["id"] for row in shown.document()["incidents"]} == {one.id for one in found.values()}
    assert all(one.id in "\n".join(shown.attention()) for one in found.values())
    assert Audit(site.store).run().violations == []


def test_s1_an_agent_that_exits_at_once_is_one_alert(site: Site, sink: RecordingSink) -> None:
    """With fifty attempts allowed it is quarantined after the second equal crash, and people are told once."""
    toml = site.project / "proofq.toml"
    toml.write_text(
        toml.read_text().replace("[agents.dead_end]\nmax_attempts = 1\n", "[agents.dead_end]\nmax_attempts = 50\n")
    )
    site.start(environ={**environ(sink), "PROOFQ_INCIDENTS_QUIET_S": "0"})
    task_id = site.enqueue("dead_end", text="x")
    assert site.wait_for(task_id, "quarantined", 60.0).attempt == 2
    until(lambda: the_one(site).notified, 30.0, "the notification")
    assert (the_one(site).count, the_one(site).tasks) == (2, 1)
    assert (len(sink.pages()), len(sink.events())) == (1, 1)
    assert site.events(task_id).count("lease") == 2


def test_plain_rq_jobs_that_are_refused_are_an_incident(site: Site, sink: RecordingSink) -> None:
    """What another service puts into a queue with inputs that nobody declared fails without an attempt, and counts."""
    site.start(environ={**environ(sink), "PROOFQ_INCIDENTS_QUIET_S": "0"}).wait_ready()
    connection = redis.Redis.from_url(site.server.url)
    queue = rq.Queue("work.dead_end", connection=connection, serializer=JSONSerializer)
    ids = [queue.enqueue("proofq.run", {"wrong": number}).id for number in range(3)]
    site.wait_all(ids, 60.0)
    until(lambda: incidents.every(site.store) and the_one(site).count == 3, 30.0, "an incident of three")
    assert (the_one(site).kind, the_one(site).tasks) == ("bad_input", 3)


def test_sinks_that_are_not_there_disturb_nobody(site: Site) -> None:
    """The port is closed: every task ends, the worker says so once for each sink, and the incident shows it."""
    with recording() as closed:
        pass
    worker = site.start(environ={**environ(closed), "PROOFQ_INCIDENTS_QUIET_S": "0"})
    ids = [site.enqueue("dead_end", text="x") for _ in range(6)]
    site.wait_all(ids, 60.0)
    until(lambda: the_one(site).notified, 30.0, "a notification that went nowhere")
    assert len(lines(site, "sink_failed")) == 2
    assert the_one(site).delivered == ()
    assert {part.split(":")[0] for part in the_one(site).problem.split("; ")} == {"apprise", "sentry"}
    worker.term()
    assert worker.wait(30.0) == 0


def test_who_is_killed_while_telling_is_followed_by_another(site: Site, sink: RecordingSink) -> None:
    """A sink hangs, tasks go on to their ends meanwhile; the worker is killed with -9 in the middle of telling, and
    once its claim is over another one tells: never lost, and told twice only by such a death."""
    sink.mood = "hangs"
    quick = {"SENTRY_DSN": sink.dsn, "PROOFQ_INCIDENTS_QUIET_S": "0"}
    first = site.start(environ=quick)
    site.wait_all([site.enqueue("dead_end", text="x") for _ in range(3)], 60.0)
    until(lambda: sink.posted, 30.0, "a sink that was asked")
    site.wait_all([site.enqueue("dead_end", text="x") for _ in range(6)], 30.0)
    first.signal_all(signal.SIGKILL)
    assert the_one(site).notified == 0
    sink.mood = "takes"
    site.start(environ=quick).wait_ready()
    site.client.zadd(keys.ALERTS, {the_one(site).id: 1})
    until(lambda: the_one(site).notified, 30.0, "another one that tells")
    assert [event["extra"]["count"] for event in sink.events()][-1] == 9
    assert len(sink.events()) == 2
    assert the_one(site).delivered == ("sentry",)


def test_a_burst_tells_before_it_leaves(site: Site, sink: RecordingSink) -> None:
    """Nobody may be there to do it later: what still gathers is told by a worker that ends."""
    for _ in range(3):
        site.enqueue("dead_end", text="x")
    assert site.start("--burst", environ=environ(sink)).wait(60.0) == 0
    (event,) = sink.events()
    assert event["extra"]["count"] == 3
    assert len(sink.pages()) == 1
