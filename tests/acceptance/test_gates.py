"""Gates of providers with real workers, in short; the modules of the campaigns have the full sizes."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from proofq.policies import gate, lifecycle
from tests.acceptance.brownout import brownout
from tests.acceptance.dead_key import dead_key
from tests.acceptance.gated import Gated, gated
from tests.acceptance.harness import program
from tests.acceptance.retry_after import retry_after
from tests.waiting import until

pytestmark = [pytest.mark.xdist_group("gates"), pytest.mark.timeout(240)]


@pytest.fixture
def site() -> Iterator[Gated]:
    """A site with a provider and a gate; no worker yet."""
    with gated({"cooldown_s": 2, "min_calls": 2}) as made:
        yield made


@pytest.mark.parametrize("kill", [False, True])
def test_s8_a_brownout_costs_few_requests_and_no_task(kill: bool) -> None:
    """Four before it trips, at most three more in flight, and one for each cool-down; all verified soon after.

    With the prober killed, with all of its worker, the probe is another's.
    """
    found = brownout(6.0, 30, 4, cooldown_s=2, min_calls=4, kill=kill)
    print(found)
    assert found.wrong == []
    # A killed prober has sent its request, and the next one need not wait for a cool-down.
    assert found.sent <= 4 + 3 + 3 + 2 * found.killed
    assert found.drained_s < 2 + 10.0


def test_s9_a_dead_provider_is_paid_for_by_the_request(site: Gated) -> None:
    """Twenty tasks and a provider that stays dead: a request for each cool-down, and what is spent is theirs alone."""
    site.workers(2)
    site.site.wait_for(site.enqueue(1, "asks")[0], lifecycle.VERIFIED)
    site.provider.status(503)
    ids = [site.site.enqueue("pays", out=site.site.out(f"pays-{number}")) for number in range(20)]
    begun_s = time.monotonic()
    site.wait_gate(gate.TRIPPED)
    known = _refused(site)
    until(lambda: _refused(site) >= known + 2, 60.0, "two probes")
    sent, probes = _refused(site), (time.monotonic() - begun_s) / 2 + 1
    # Two that trip it and one that was in flight then.
    assert sent <= 2 + 1 + probes
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
    return sum(status == 503 for _, status in site.provider.requests())


def _books(site: Gated, agent: str) -> dict[str, tuple[float, float]]:
    """Requests and dollars by class once nothing is open: an attempt is booked after it is settled."""

    def closed() -> Any:
        rows = [one for one in _said(site, "spend")["items"] if one["agent"] == agent]
        return all(one["class"] != "open" for one in rows) and rows

    return {one["class"]: (one["requests"], one["usd"]) for one in until(closed, 30.0, "closed books")}


def test_one_slow_down_is_the_fleets() -> None:
    """Nothing but what was in flight is sent for three seconds, and then no fifth of it in one second."""
    found = retry_after(3, 40, 4)
    print(found)
    assert found.wrong == []


@pytest.mark.parametrize("worked", [False, True])
def test_s50_a_refused_key_is_asked_about_once_more(worked: bool) -> None:
    """Then nothing is sent with it, one page, and all tasks run unharmed once it is mended."""
    found = dead_key(20, 6, worked=worked)
    print(found)
    assert found.wrong == []


def test_who_waits_says_so(site: Gated) -> None:
    """`show`, `why`, `status` and `gate list` name the provider and the state; another key is another gate."""
    site.provider.status(401)
    site.start(2).wait_ready(60.0)
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


def test_by_hand(site: Gated) -> None:
    """Isolated, nothing is leased and nothing is sent; opened, it goes on at once."""
    site.workers(1)
    site.site.wait_for(site.enqueue(1)[0], lifecycle.VERIFIED)
    (isolated,) = _said(site, "gate", "isolate", "moody", "--reason", "on a weekend")["items"]
    assert (isolated["state"], isolated["until"], isolated["reason"]) == ("isolated", None, "on a weekend")
    sent = len(site.provider.requests())
    task_id = site.site.enqueue("asks", out=site.site.out("later"))
    until(lambda: _said(site, "show", task_id)["waiting_for"], 20.0, "what it waits for")
    assert "is isolated" in _said(site, "why", task_id)["text"]
    assert len(site.provider.requests()) == sent
    (opened,) = _said(site, "gate", "open", "moody")["items"]
    assert opened["state"] == "open"
    site.wait_verified([task_id], 20.0)


@pytest.mark.parametrize("agent", ["calls", "awaits"])
def test_calls_pass_the_gate_too(agent: str) -> None:
    """A brownout of agents that use ctx.call, in a process of their own and in one that they share: as few requests."""
    found = brownout(6.0, 20, 4, cooldown_s=2, min_calls=4, agent=agent)
    print(found)
    assert found.wrong == []
    assert found.sent <= 4 + 3 + 3


def test_s50_an_error_inside_a_200_counts(site: Gated) -> None:
    """A key that is refused so is asked about once more, by functions and by async agents; no attempt is counted."""
    site.provider.body = b'{"error": {"code": "invalid_api_key", "message": "no such key"}}'
    site.start(4).wait_ready(60.0)
    ids = [*site.enqueue(3, "calls"), *site.enqueue(3, "awaits")]
    site.wait_gate(gate.HELD)
    # A key that nobody has seen is asked about one at a time.
    assert len(site.provider.requests()) == 2
    assert site.pages() == 1
    site.provider.body = b'{"choices": ["an answer that speaks of invalid_api_key"]}'
    _said(site, "gate", "open", "moody")
    site.wait_verified(ids, 30.0)
    begun, counted = site.attempts(ids)
    assert (begun, counted) == (len(ids) + 2, len(ids))
    classes = {one.get("class") for task_id in ids for one in site.site.snapshot(task_id).attempts}
    assert classes == {"auth", None}


def test_a_call_that_is_not_let_through_costs_no_attempt(site: Gated) -> None:
    """The agent names no provider, so it is leased: its call is refused, and its task waits, uncounted."""
    site.workers(1, slots=2)
    _said(site, "gate", "isolate", "moody")
    task_id = site.enqueue(1, "calls_only")[0]
    task = site.site.wait_for(task_id, lifecycle.DEFERRED)
    assert task.failure is not None
    assert (task.failure.kind, task.failure.source, task.counted) == ("overloaded", "host", 0)
    assert "overloaded.unasked" in _said(site, "why", task_id)["rule"]
    assert site.provider.requests() == []
    _said(site, "gate", "open", "moody")
    site.wait_verified([task_id], 30.0)
    assert site.gate().state == gate.OPEN


def _said(site: Gated, *words: str) -> Any:
    """The document of a command."""
    done = subprocess.run(
        [*program(), *words, "--json"], cwd=site.site.project, env=site.site.environ(), capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
