"""What a sink is sent, over real HTTP on loopback: one that takes it, refuses it, hangs, or is not there."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator

import pytest

from proofq.policies.incident_rules import Rules
from proofq.workers import notify, sinks
from proofq.workers.apprise_sink import Undelivered
from proofq.workers.incidents import Incident
from proofq.workers.notify import Notice, Sink
from tests.sinks import RecordingSink, recording

SECRETS = ("sentrysecret", "pagesecret", "input-of-a-task")
INCIDENT = Incident(
    "i1", "open", "error", "crash", "", "note", "f00d", "died of input-of-a-task", "c0ffee", count=50, tasks=49,
    first_task="t1", last_task="t50",
)  # fmt: skip
NOTICE = Notice(INCIDENT, "error", 0)


@pytest.fixture
def sink() -> Iterator[RecordingSink]:
    with recording() as opened:
        yield opened


def made(sink: RecordingSink, name: str) -> Sink:
    """The one sink of that name whose variable is set."""
    address = {"sentry": sink.dsn, "apprise": sink.url}[name]
    (found,) = sinks.of(Rules(), {sinks.variables(Rules())[name]: address})
    return found


def test_one_event_with_the_count_and_a_fingerprint_of_ours(sink: RecordingSink) -> None:
    """Sentry gets class, names, counts and ids under our fingerprint, and nothing of input, host, path or user."""
    made(sink, "sentry").send(NOTICE)
    (event,) = sink.events()
    assert event["fingerprint"] == ["proofq", "c0ffee"]
    assert event["message"] == "crash of agent note (f00d): 50 failures"
    assert event["level"] == "error"
    assert event["tags"]["occurrences"] == "50"
    assert event["extra"]["count"] == 50
    assert event["extra"]["last_task"] == "t50"
    assert not event.keys() & {"server_name", "user", "contexts", "modules", "request", "breadcrumbs", "exception"}
    raw = b"".join(body for _, body in sink.posted)
    assert not [secret for secret in SECRETS if secret.encode() in raw]
    assert len(sink.posted) == 1


def test_a_service_that_refuses_is_told_and_keeps_no_other_from_it(sink: RecordingSink) -> None:
    """Of two pagers one takes it: whoever tells hears that one did not, and nothing of its address."""
    with recording("refuses") as other:
        (both,) = sinks.of(Rules(), {Rules().notify_urls_env: f"{other.url}, {sink.url}"})
        with pytest.raises(Undelivered, match=r"^1 of 2$"):
            both.send(NOTICE)
    assert len(sink.pages()) == 1


def test_it_leaves_no_thread_and_no_global_client(sink: RecordingSink) -> None:
    """Nothing of the SDK stays behind: no thread that a fork would meet, and no client that an agent would meet."""
    import sentry_sdk

    before = set(threading.enumerate())
    made(sink, "sentry").send(NOTICE)
    assert not [one for one in threading.enumerate() if one not in before and one.name.startswith("sentry")]
    assert not sentry_sdk.get_client().is_active()


def test_a_page_says_what_to_do(sink: RecordingSink) -> None:
    """Through apprise: title, how many, and the commands; no reason, which may hold an input."""
    made(sink, "apprise").send(NOTICE)
    (page,) = sink.pages()
    assert page["title"] == "[proofq] error: crash of agent note (f00d): 50 failures"
    assert "proofq incident ack i1" in page["message"]
    assert "input-of-a-task" not in json.dumps(page)


def test_an_escalation_says_so() -> None:
    """The title of a later notice has its number and the raised severity."""
    assert Notice(INCIDENT, "critical", 2).title.startswith("[proofq] critical: still open (escalation 2): ")


@pytest.mark.parametrize("name", ["sentry", "apprise"])
def test_a_refusal_is_known(sink: RecordingSink, name: str) -> None:
    """Who is refused does not believe that it was delivered."""
    sink.mood = "refuses"
    line = notify._Line(made(sink, name))
    assert line.send(NOTICE) in {"Refused", "Undelivered"}
    sink.mood = "takes"
    assert line.send(NOTICE) == ""


@pytest.mark.parametrize("name", ["sentry", "apprise"])
def test_nobody_there_is_known(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A closed port is told by the name of an error, with no secret in it, and nothing is logged beside it."""
    with recording() as closed:
        found = made(closed, name)
    with caplog.at_level(logging.WARNING):
        said = notify._Line(found).send(NOTICE)
    assert said
    assert not [secret for secret in SECRETS if secret in said + caplog.text]
    assert caplog.records == []


@pytest.mark.parametrize("name", ["sentry", "apprise"])
def test_one_that_hangs_is_given_up(sink: RecordingSink, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs its time once; while it still hangs it is not asked again, and only one thread waits for it."""
    monkeypatch.setattr(notify, "SINK_S", 0.3)
    sink.mood = "hangs"
    line = notify._Line(made(sink, name))
    assert line.send(NOTICE) == "no answer within 0.3 s"
    assert line.send(NOTICE) == "it still hangs on an earlier one"
    assert len(sink.posted) <= 1


@pytest.mark.parametrize(
    ("variable", "value"),
    [("SENTRY_DSN", "https://sentrysecret"), ("PROOFQ_NOTIFY_URLS", "wat://pagesecret")],
)
def test_a_bad_address_costs_a_line_without_it(variable: str, value: str, caplog: pytest.LogCaptureFixture) -> None:
    """A worker starts all the same; the line names the variable and not its value."""
    assert sinks.of(Rules(), {variable: value}) == []
    (record,) = [one for one in caplog.records if one.getMessage() == "sink_refused"]
    said = str(vars(record))
    assert variable in said
    assert not [secret for secret in SECRETS if secret in said]
