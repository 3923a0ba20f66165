"""Commands about tasks, on real Redis: show, why, tasks, cancel, replay, audit."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from proofq.policies import lifecycle
from proofq.workers import keys
from proofq.workers.cli import exit_codes
from proofq.workers.door import Event
from proofq.workers.session import Session
from tests.commands import Inside, Project
from tests.proxy import LosingProxy
from tests.servers import PrivateServer
from tests.workbench import BROKEN, Bench

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


# --- show and why, in every state ----------------------------------------------------------------------------------

SHOWN = {
    "id", "agent", "lane", "queue", "state", "waiting_for", "enqueued_at", "not_before", "attempt", "max_attempts",
    "attempts", "failure", "verdict", "claim", "breadcrumbs",
}  # fmt: skip
ATTEMPT = {
    "n", "fence", "started_at", "ended_at", "outcome", "counted", "class", "reason", "worker", "host", "pid",
}  # fmt: skip
CRUMB = {"at", "from", "event", "to", "reason", "attempt", "fence", "who"}


@pytest.mark.parametrize("state", list(lifecycle.STATES))
def test_show_has_its_shape_in_every_state(inside: Inside, project: Project, bench: Bench, state: str) -> None:
    """Names, types and the contract's rules about them hold whatever happened."""
    task_id = project.enqueue()
    bench.to(task_id, state)
    shown = inside("show", task_id, "--json").document
    assert shown.keys() >= SHOWN
    assert (shown["id"], shown["agent"], shown["queue"], shown["state"]) == (task_id, "note", "work.note", state)
    assert TIME.fullmatch(shown["enqueued_at"])
    assert len(shown["attempts"]) == shown["attempt"]
    for attempt in shown["attempts"]:
        assert attempt.keys() >= ATTEMPT
        assert (attempt["outcome"] is None) == (attempt["ended_at"] is None)
        assert (attempt["outcome"] is None) == (state in lifecycle.OWNED)
    assert [crumb.keys() >= CRUMB for crumb in shown["breadcrumbs"]].count(False) == 0
    trail = [None, *[crumb["to"] for crumb in shown["breadcrumbs"]]]
    assert [crumb["from"] for crumb in shown["breadcrumbs"]] == trail[:-1]
    assert trail[-1] == state
    if state in {"deferred", "held", "failed", "quarantined", "expired", "cancelled"}:
        assert shown["failure"].keys() >= {"class", "reason", "retry_after_s", "fingerprint", "source"}
    else:
        assert shown["failure"] is None
    waits = {"deferred": "time", "held": "human"}.get(state)
    assert (shown["waiting_for"] or {}).get("what") == waits
    assert (shown["not_before"] is not None) == (state == "deferred")
    assert inside("show", task_id).code == 0


@pytest.mark.parametrize("state", list(lifecycle.STATES))
def test_why_explains_every_state(inside: Inside, project: Project, bench: Bench, state: str) -> None:
    """One paragraph with the task, its class and its rule, and the same for people."""
    task_id = project.enqueue()
    bench.to(task_id, state)
    said = inside("why", task_id, "--json").document
    kind = (inside("show", task_id, "--json").document["failure"] or {}).get("class")
    assert said.keys() >= {"id", "text", "class", "rule", "next"}
    assert (said["id"], said["class"]) == (task_id, kind)
    assert task_id in said["text"]
    assert said["next"] in said["text"]
    assert f"Rule {said['rule']}: " in said["text"]
    assert inside("why", task_id).stdout == f"{said['text']}\n"


def test_why_names_the_rule_that_decided(inside: Inside, project: Project, bench: Bench) -> None:
    """The rule is the one the decision was made by: the first crash retries, the second equal one quarantines."""
    task_id = project.enqueue()
    assert bench.fail(task_id, "crash", "exited with 3") == "deferred"
    first = inside("why", task_id, "--json").document
    assert (first["class"], first["rule"]) == ("crash", "crash.retry")
    from proofq.workers.door import Event

    assert bench.door.apply(task_id, Event("due", "bench", "its time has come")).ok
    waiting = inside("why", task_id, "--json").document
    assert (waiting["class"], waiting["rule"]) == ("crash", "crash.retry")
    assert bench.fail(task_id, "crash", "exited with 3") == "quarantined"
    last = inside("why", task_id, "--json").document
    assert (last["class"], last["rule"]) == ("crash", "crash.equal_crashes")
    assert "exited with 3" in last["text"]


def test_why_names_the_proof_that_failed(inside: Inside, project: Project, bench: Bench) -> None:
    """Of a lie it says which proof found it."""
    from proofq.policies.failure import Failure

    task_id = project.enqueue("liar")
    failure = Failure("unverified", "file proof: gone", phase="proof")
    bench.event(bench.claim(task_id), "failed", failure=failure, verdict=BROKEN, outcome="unverified")
    said = inside("why", task_id, "--json").document
    assert (said["class"], said["rule"]) == ("unverified", "unverified.attempts")
    assert "the file proof found it not so" in said["text"]
    shown = inside("show", task_id, "--json").document
    assert (shown["state"], shown["attempts"][-1]["outcome"]) == ("quarantined", "unverified")
    assert shown["verdict"] == BROKEN


def test_a_queue_without_a_worker_says_so(inside: Inside, project: Project, bench: Bench) -> None:
    """While a live worker declares the agent a queued task waits for nothing but a slot; then for a worker."""
    task_id = project.enqueue()
    assert inside("show", task_id, "--json").document["waiting_for"] is None
    bench.forget_agents()
    assert inside("show", task_id, "--json").document["waiting_for"]["what"] == "worker"
    assert "No live worker declares the agent note" in inside("why", task_id).stdout


@pytest.mark.parametrize("command", ["show", "why", "cancel", "replay"])
@pytest.mark.parametrize("task_id", ["nobody", "", "a b", "*", "\udcff", "x" * 5000])
def test_an_unknown_id_is_1(inside: Inside, command: str, task_id: str) -> None:
    """Whatever the id looks like: exit 1, kind unknown_task."""
    done = inside(command, task_id, "--json")
    assert (done.code, done.error) == (exit_codes.ERROR, "unknown_task")


def test_damaged_rows_are_an_error_with_a_document(inside: Inside, project: Project, opened: Session) -> None:
    """Rows that somebody broke are told, exit 1, whichever they are."""
    for key, spoil in (
        (keys.task, lambda key: opened.store.client.hset(key, "inputs", "{")),
        (keys.crumbs, lambda key: opened.store.client.delete(key)),
        (keys.task, lambda key: (opened.store.client.delete(key), opened.store.client.set(key, "x"))),
    ):
        task_id = project.enqueue()
        spoil(key(task_id))
        assert inside("why", task_id, "--json").code == exit_codes.ERROR
        assert inside("audit", "--json").code == exit_codes.ERROR


# --- tasks ---------------------------------------------------------------------------------------------------------


def test_tasks_lists_newest_first(inside: Inside, project: Project) -> None:
    """Items with their stable fields, at most --limit of them, and all with 0."""
    ids = [project.enqueue() for _ in range(3)]
    items = inside("tasks", "--json").document["items"]
    # Those of one millisecond have no order.
    times = [item["enqueued_at"] for item in items]
    assert times == sorted(times, reverse=True)
    assert {item["id"] for item in items} == set(ids)
    assert items[0].keys() == {"id", "agent", "state", "attempt", "class", "fingerprint", "enqueued_at", "waiting_for"}
    assert inside("tasks", "--limit", "2", "--json").document["items"] == items[:2]
    assert len(inside("tasks", "--limit", "0", "--json").document["items"]) == 3
    assert all(task_id in inside("tasks").stdout for task_id in ids)


def test_tasks_filters(inside: Inside, project: Project, bench: Bench) -> None:
    """By state, agent and class, and by all at once."""
    queued, failed, other = project.enqueue(), project.enqueue("liar"), project.enqueue("steady", seconds=1)
    bench.to(failed, "failed")
    for words, wanted in (
        (["--state", "queued"], [other, queued]),
        (["--agent", "note"], [queued]),
        (["--class", "timeout"], [failed]),
        (["--state", "failed", "--agent", "liar", "--class", "timeout"], [failed]),
        (["--state", "failed", "--agent", "note"], []),
        (["--agent", "nobody"], []),
    ):
        assert [item["id"] for item in inside("tasks", *words, "--json").document["items"]] == wanted


def test_tasks_of_a_state_read_no_others(inside: Inside, opened: Session, bench: Bench) -> None:
    """A few failed among very many queued: only their rows are read, newest first, over several pages of the index."""
    ids = _bulk(opened, 40)
    for task_id in ids[::10]:
        opened.door.apply(task_id, Event("cancel", "test", "not needed"))
    opened.store.client.config_resetstat()
    items = inside("tasks", "--state", "cancelled", "--json").document["items"]
    assert [item["id"] for item in items] == sorted(ids[::10], key=_place(opened), reverse=True)
    assert opened.store.client.info("commandstats")["cmdstat_hgetall"]["calls"] <= 4 + 5
    many = inside("tasks", "--state", "queued", "--limit", "0", "--json").document["items"]
    assert [item["id"] for item in many] == sorted(set(ids) - set(ids[::10]), key=_place(opened), reverse=True)


def test_tasks_of_a_state_are_found_without_the_index(inside: Inside, opened: Session) -> None:
    """A stranger's key in its place: all tasks are read instead."""
    ids = _bulk(opened, 3)
    opened.store.client.rename(keys.states("work"), "aside")
    opened.store.client.set(keys.states("work"), "stranger")
    listed = inside("tasks", "--state", "queued", "--json").document["items"]
    assert {item["id"] for item in listed} == set(ids)


def _bulk(opened: Session, count: int) -> list[str]:
    from proofq.workers import producer
    from proofq.workers.known_agents import KnownAgent

    return [producer.enqueue(opened, KnownAgent("bulk"), {}, producer.Request(), "test").id for _ in range(count)]


def _place(opened: Session) -> Callable[[str], tuple[float, str]]:
    return lambda task_id: (opened.store.client.zscore(keys.TASKS, task_id), task_id)


def test_tasks_over_many_pages(inside: Inside, opened: Session) -> None:
    """More tasks than a page, with tasks enqueued meanwhile: none is left out, none comes twice."""
    from proofq.workers import task_view

    ids = _bulk(opened, task_view.PAGE + 20)
    assert len(inside("tasks", "--limit", "0", "--json").document["items"]) == len(ids)
    listed = []
    for number, task in enumerate(task_view.newest(opened.store)):
        if number == 3:
            _bulk(opened, 7)
        listed.append(task)
    assert sorted(task.id for task in listed) == sorted(ids)
    assert [task.enqueued_at for task in listed] == sorted((task.enqueued_at for task in listed), reverse=True)


# --- cancel and replay ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(lifecycle.STATES))
def test_cancel_in_every_state(inside: Inside, project: Project, bench: Bench, state: str) -> None:
    """Waiting tasks are cancelled, held leases are asked for, ends are refused with exit 1."""
    task_id = project.enqueue()
    bench.to(task_id, state)
    done = inside("cancel", task_id, "--json")
    shown = inside("show", task_id, "--json").document
    if state in lifecycle.TERMINAL:
        assert (done.code, done.document["ids"], done.error) == (exit_codes.ERROR, [], "refused")
        assert shown["state"] == state
        assert shown["breadcrumbs"][-1]["event"] == "refused:cancel"
    else:
        assert (done.code, done.document["ids"]) == (0, [task_id])
        assert shown["state"] == (state if state in lifecycle.OWNED else "cancelled")
        assert shown["cancel_asked"] == (state in lifecycle.OWNED)


@pytest.mark.parametrize("state", sorted(lifecycle.STATES))
def test_replay_in_every_state(inside: Inside, project: Project, bench: Bench, state: str) -> None:
    """Held tasks and every end but success run again with counters begun anew; the rest is refused with exit 1."""
    task_id = project.enqueue()
    bench.to(task_id, state)
    done = inside("replay", task_id, "--json")
    shown = inside("show", task_id, "--json").document
    if lifecycle.next_state(state, "replay") is None:
        assert (done.code, done.document["ids"], done.error) == (exit_codes.ERROR, [], "refused")
        assert shown["state"] == state
    else:
        assert (done.code, done.document["ids"]) == (0, [task_id])
        assert (shown["state"], shown["counted"], shown["failure"]) == ("queued", 0, None)
        assert shown["breadcrumbs"][-1]["who"].startswith("cli:")


def test_several_at_once(inside: Inside, project: Project, bench: Bench) -> None:
    """Those that can be are acted on and listed; the others are told; one success is enough for exit 0."""
    one, two, ended = project.enqueue(), project.enqueue(), project.enqueue("liar")
    bench.to(ended, "verified")
    done = inside("cancel", one, ended, "nobody", two, one, "--json")
    assert (done.code, done.document["ids"]) == (0, [one, two])
    assert [(each["id"], each["kind"]) for each in done.document["refused"]] == [
        (ended, "refused"),
        ("nobody", "unknown_task"),
    ]


def test_acts_say_what_they_did(inside: Inside, project: Project) -> None:
    """For people: what was acted on on stdout, what was refused on stderr."""
    task_id = project.enqueue()
    first, second = inside("cancel", task_id), inside("cancel", task_id)
    assert task_id in first.stdout
    assert (second.code, second.stdout) == (exit_codes.ERROR, "")
    assert "it is cancelled" in second.stderr


@pytest.mark.parametrize(("act", "state"), [("cancel", "queued"), ("cancel", "running"), ("replay", "failed")])
def test_an_act_whose_reply_is_lost_is_done_once(
    inside: Inside, project: Project, bench: Bench, redis_server: PrivateServer, monkeypatch: pytest.MonkeyPatch,
    act: str, state: str,
) -> None:  # fmt: skip
    """Nobody heard that it was done: it is asked again, said to be done, and stands once in the breadcrumbs."""
    task_id = project.enqueue()
    bench.to(task_id, state)
    with LosingProxy(redis_server.socket) as proxy:
        monkeypatch.setenv("PROOFQ_REDIS_URL", proxy.url)
        proxy.lose_next()
        done = inside(act, task_id, "--json")
        assert proxy.lost == 1
    assert (done.code, done.document["ids"]) == (0, [task_id])
    events = [crumb.event for crumb in bench.store.snapshot(task_id).crumbs]
    assert events.count("ask_cancel" if state == "running" else act) == 1


# --- audit ---------------------------------------------------------------------------------------------------------


def test_audit_of_a_sound_store(project: Project, bench: Bench) -> None:
    """Tasks in every state, and no violation: exit 0."""
    for state in lifecycle.STATES:
        bench.to(project.enqueue(), state) if state != "queued" else None
    done = project.inside("audit", "--json")
    assert (done.code, done.document["checked"], done.document["violations"]) == (0, len(lifecycle.STATES) - 1, [])
    assert "0 violations" in project.inside("audit").stdout


def test_audit_finds_a_violation(project: Project, opened: Session) -> None:
    """A state that no breadcrumb led to is named, and the exit code is 1, with and without --json."""
    task_id = project.enqueue()
    opened.store.client.hset(keys.task(task_id), "state", "verified")
    done = project.inside("audit", "--json")
    assert done.code == exit_codes.ERROR
    assert {"rule", "subject", "detail"} == done.document["violations"][0].keys()
    assert task_id in {each["subject"] for each in done.document["violations"]}
    people = project.inside("audit")
    assert (people.code, task_id in people.stdout) == (exit_codes.ERROR, True)


def test_json_is_one_document_even_where_reading_fails_midway(
    inside: Inside, project: Project, opened: Session
) -> None:
    """A list whose reading breaks off gives the error's document alone, not half of a list before it."""
    project.enqueue()
    opened.store.client.delete(keys.TASKS)
    opened.store.client.set(keys.TASKS, "x")
    done = inside("tasks", "--json")
    assert done.code == exit_codes.ERROR
    assert json.loads(done.stdout)["error"]["kind"] == "damaged_key"
