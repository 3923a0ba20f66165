"""Gates of providers with real workers, in short; the modules of the campaigns have the full sizes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from proofq.policies import gate, lifecycle
from tests.acceptance.brownout import outage
from tests.acceptance.dead_key import refused
from tests.acceptance.gated import Gated, gated
from tests.acceptance.retry_after import slow_down
from tests.waiting import until

pytestmark = [pytest.mark.xdist_group("gates"), pytest.mark.timeout(240)]
#: How many of a slot each.
WORKERS = 4


@pytest.fixture(scope="module")
def four() -> Iterator[Gated]:
    """A site with a provider, a gate and four workers of a slot each."""
    with gated({"cooldown_s": 2, "min_calls": 4}) as made:
        made.workers(WORKERS)
        made.site.wait_for(made.enqueue(1)[0], lifecycle.VERIFIED)
        yield made


@pytest.fixture
def fleet(four: Gated) -> Gated:
    """The same with all workers ready, whatever a test did to them, and a gate that has seen nothing."""
    living = [worker for worker in four.site.workers if worker.process.poll() is None]
    for worker in living + [four.start() for _ in range(WORKERS - len(living))]:
        worker.wait_ready()
    four.fresh()
    return four


@pytest.fixture
def new_key() -> Iterator[Gated]:
    """A worker of six slots with a key that nobody has heard of, and that the provider refuses."""
    with gated({"cooldown_s": 2, "min_calls": 2}) as made:
        made.provider.status(401)
        made.start(6).wait_ready(60.0)
        yield made


@pytest.mark.parametrize("agent", ["asks", "calls", "awaits"])
def test_s8_a_brownout_costs_few_requests_and_no_task(fleet: Gated, agent: str) -> None:
    """Four before it trips, at most three more in flight, and one for each cool-down; all verified soon after.

    So it is of agents that use ctx.call, in a process of their own and in one that they share.
    """
    found = outage(fleet, 6.0, 16, agent=agent)
    print(found)
    assert found.wrong == []
    assert found.sent <= 4 + 3 + 3
    assert found.drained_s < 2 + 20.0


def test_s9_a_dead_provider_is_paid_for_by_the_request(fleet: Gated) -> None:
    """Twenty tasks and a provider that stays dead: a request for each cool-down, and what is spent is theirs alone."""
    site = fleet
    site.provider.status(503)
    ids = site.enqueue(20, "pays")
    begun_s = time.monotonic()
    site.wait_gate(gate.TRIPPED)
    known = _refused(site)
    until(lambda: _refused(site) >= known + 2, 60.0, "two probes")
    sent, probes = _refused(site), (time.monotonic() - begun_s) / 2 + 1
    # Four that trip it and three that were in flight then.
    assert sent <= 4 + 3 + probes
    books = _books(site, "pays")
    assert books["overloaded"][0] >= sent
    # A probe may have been sent since; nothing else was.
    assert books["overloaded"][0] <= _refused(site) <= sent + 2
    site.provider.status(200)
    site.wait_verified(ids, 60.0)
    books = _books(site, "pays")
    assert {name: paid[0] for name, paid in books.items()} == {"overloaded": _refused(site), "none": len(ids)}
    assert all(usd == pytest.approx(0.01 * requests) for requests, usd in books.values())


def _refused(site: Gated) -> int:
    return sum(status == 503 for _, status in site.sent())


def _books(site: Gated, agent: str) -> dict[str, tuple[float, float]]:
    """Requests and dollars by class once nothing is open: an attempt is booked after it is settled."""

    def closed() -> Any:
        rows = [one for one in _said(site, "spend")["items"] if one["agent"] == agent]
        return all(one["class"] != "open" for one in rows) and rows

    return {one["class"]: (one["requests"], one["usd"]) for one in until(closed, 30.0, "closed books")}


def test_one_slow_down_is_the_fleets(fleet: Gated) -> None:
    """Nothing but what was in flight is sent for three seconds, and then no fifth of it in one second."""
    found = slow_down(fleet, 3, 40, WORKERS)
    print(found)
    assert found.wrong == []


def test_s50_a_key_that_worked_is_asked_about_once_more(fleet: Gated) -> None:
    """Then nothing is sent with it, one page, and all tasks run unharmed once it is mended."""
    found = refused(fleet, 12, WORKERS, worked=True, quiet_s=2.0)
    print(found)
    assert found.wrong == []


def test_s50_a_new_key_is_asked_about_once_more(new_key: Gated) -> None:
    """So it is of a key that nobody has heard of, though six slots are free."""
    found = refused(new_key, 20, 6, worked=False, quiet_s=2.0)
    print(found)
    assert found.wrong == []


def test_who_waits_says_so(new_key: Gated) -> None:
    """`show`, `why`, `status` and `gate list` name the provider and the state; another key is another gate."""
    site = new_key
    ids = site.enqueue(3)
    site.wait_gate(gate.HELD)
    shown = _said(site, "show", ids[2])
    assert shown["state"] == lifecycle.QUEUED
    assert (shown["attempt"], shown["waiting_for"]["what"], shown["waiting_for"]["name"]) == (0, "gate", "moody")
    text = _said(site, "why", ids[2])["text"]
    assert "The gate of moody (key " in text
    assert "is held" in text
    assert "`proofq gate open moody`" in text
    status = _said(site, "status")
    assert [(one["provider"], one["state"]) for one in status["gates"]] == [("moody", "held")]
    assert any("gate of moody" in sentence for sentence in status["attention"])
    # Its fingerprint is all that is kept of a key.
    assert not any(b"key-one" in site.site.client.dump(key) for key in site.site.client.keys("*"))
    site.provider.refuse = lambda key, _: None if key == "key-two" else (401, {})
    site.start(2, key="key-two").wait_ready(60.0)
    site.wait_verified(ids, 30.0)
    assert sorted(one["state"] for one in _said(site, "gate", "list")["items"]) == ["held", "open"]


def test_by_hand(fleet: Gated) -> None:
    """Isolated, nothing is leased and nothing is sent; opened, it goes on at once."""
    site = fleet
    (isolated,) = _said(site, "gate", "isolate", "moody", "--reason", "on a weekend")["items"]
    assert (isolated["state"], isolated["until"], isolated["reason"]) == ("isolated", None, "on a weekend")
    sent = len(site.provider.requests())
    (task_id,) = site.enqueue(1)
    until(lambda: _said(site, "show", task_id)["waiting_for"], 20.0, "what it waits for")
    assert "is isolated" in _said(site, "why", task_id)["text"]
    assert len(site.provider.requests()) == sent
    (opened,) = _said(site, "gate", "open", "moody")["items"]
    assert opened["state"] == "open"
    site.wait_verified([task_id], 20.0)


def test_s50_an_error_inside_a_200_counts(new_key: Gated) -> None:
    """A key that is refused so is asked about once more, by functions and by async agents; no attempt is counted."""
    site = new_key
    site.provider.status(200)
    site.provider.body = b'{"error": {"code": "invalid_api_key", "message": "no such key"}}'
    ids = [*site.enqueue(3, "calls"), *site.enqueue(3, "awaits")]
    site.wait_gate(gate.HELD)
    # A key that nobody has seen is asked about one at a time.
    assert len(site.provider.requests()) == 2
    assert site.pages() == 1
    site.provider.body = b'{"choices": ["an answer that speaks of invalid_api_key"]}'
    answers = threading.Event()
    site.provider.refuse = lambda _key, _number: (answers.wait(60.0), None)[1]
    _said(site, "gate", "open", "moody")
    probe = until(lambda: site.gate().probe, 30.0, "a probe")
    assert "It tries the gate of moody (key " in _said(site, "why", probe)["text"]
    answers.set()
    site.wait_verified(ids, 30.0)
    assert "tries the gate" not in _said(site, "why", probe)["text"]
    begun, counted = site.attempts(ids)
    assert (begun, counted) == (len(ids) + 2, len(ids))
    classes = {one.get("class") for task_id in ids for one in site.site.snapshot(task_id).attempts}
    assert classes == {"auth", None}


def test_a_call_that_is_not_let_through_costs_no_attempt(fleet: Gated) -> None:
    """The agent names no provider, so it is leased: its call is refused, and its task waits, uncounted."""
    site = fleet
    _said(site, "gate", "isolate", "moody")
    task_id = site.enqueue(1, "calls_only")[0]
    task = site.site.wait_for(task_id, lifecycle.DEFERRED)
    assert task.failure is not None
    assert (task.failure.kind, task.failure.source, task.counted) == ("overloaded", "host", 0)
    assert "overloaded.unasked" in _said(site, "why", task_id)["rule"]
    assert site.sent() == []
    _said(site, "gate", "open", "moody")
    site.wait_verified([task_id], 30.0)
    assert site.gate().state == gate.OPEN


def test_s8_another_one_probes_where_the_prober_dies(fleet: Gated) -> None:
    """Killed mid-probe with all of its worker: the probe is another's, at two requests more, and no task is lost."""
    found = outage(fleet, 6.0, 16, kill=True)
    print(found)
    assert found.wrong == []
    # A killed prober has sent its request, and the next one need not wait for a cool-down.
    assert found.sent <= 4 + 3 + 3 + 2
    assert found.drained_s < 2 + 20.0


def _said(site: Gated, *words: str) -> Any:
    """The document of a command."""
    done = site.site.inside(*words, "--json")
    assert done.code == 0, done.stderr
    return done.document
