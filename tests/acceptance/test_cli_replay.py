"""`proofq replay` by class, fingerprint and agent, over many tasks: each once, and only what was asked for."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from proofq.policies import lifecycle
from proofq.policies.failure import Failure
from proofq.workers import by_state, keys, replaying
from proofq.workers.audit import Audit
from proofq.workers.cli import exit_codes
from proofq.workers.cli import replay as command
from proofq.workers.door import Event
from proofq.workers.replaying import Wanted
from proofq.workers.session import Session
from tests.commands import Done, Inside, Project
from tests.heart import birth
from tests.workbench import Bench


def _failed(project: Project, bench: Bench, kind: str, fingerprint: str, agent: str = "note") -> str:
    task_id = project.enqueue(agent)
    bench.event(bench.run(task_id), "failed", failure=Failure(kind, "for a reason", fingerprint=fingerprint))
    return task_id


def _ids(done: Done) -> set[str]:
    ids: list[str] = done.document["ids"]
    assert len(ids) == len(set(ids))
    assert done.code == (exit_codes.OK if ids else exit_codes.ERROR)
    return set(ids)


@pytest.fixture
def tasks(project: Project, bench: Bench) -> dict[str, str]:
    """One of each of some ends, by what it is for."""
    found = {
        "timeout": _failed(project, bench, "timeout", "f1"),
        "timeout_2": _failed(project, bench, "timeout", "f2"),
        "liar": _failed(project, bench, "timeout", "f1", "liar"),
        "held": _failed(project, bench, "auth", "f3"),
        "quarantined": _failed(project, bench, "policy_error", "f4"),
    }
    for state in ("cancelled", "expired", "verified", "running", "deferred"):
        found[state] = project.enqueue()
        bench.to(found[state], state)
    return found


FILTERS = [
    (["--class", "timeout"], {"timeout", "timeout_2", "liar"}),
    (["--class", "auth"], {"held"}),
    (["--class", "policy_error"], {"quarantined"}),
    (["--class", "cancelled"], {"cancelled"}),
    (["--class", "stalled"], set()),
    (["--fingerprint", "f1"], {"timeout", "liar"}),
    (["--fingerprint", "f1", "--agent", "note"], {"timeout"}),
    (["--fingerprint", "f1", "--class", "auth"], set()),
    (["--agent", "liar"], {"liar"}),
    (["--agent", "note"], {"timeout", "timeout_2", "held", "quarantined", "expired"}),
    (["--agent", "nobody"], set()),
]


@pytest.mark.parametrize(("words", "wanted"), FILTERS, ids=[" ".join(words) for words, _ in FILTERS])
def test_filters_say_and_do_the_same(
    inside: Inside, tasks: dict[str, str], bench: Bench, words: list[str], wanted: set[str]
) -> None:
    """A dry run names what would be replayed and writes nothing; the replay does just that, and asked again nothing."""
    keys_before = {key: bench.store.client.dump(key) for key in bench.store.client.keys("*")}
    names = {task_id: name for name, task_id in tasks.items()}
    dry = inside("replay", *words, "--dry-run", "--json")
    assert {names[task_id] for task_id in _ids(dry)} == wanted
    assert dry.document["dry_run"] is True
    assert {key: bench.store.client.dump(key) for key in bench.store.client.keys("*")} == keys_before
    done = inside("replay", *words, "--json")
    assert {names[task_id] for task_id in _ids(done)} == wanted
    assert {task_id for task_id in names if bench.store.read(task_id).state == "queued"} == _ids(done)
    again = inside("replay", *words, "--json")
    assert (_ids(again), again.error) == (set(), "refused")
    assert not [
        crumb for task_id in names for crumb in bench.store.snapshot(task_id).crumbs
        if lifecycle.is_refused(crumb.event)
    ]  # fmt: skip
    assert Audit(bench.store).run().violations == []


def test_ids_and_filters_combine(inside: Inside, tasks: dict[str, str], bench: Bench) -> None:
    """Of the ids only those that fit; the others are told, and nothing is written to them."""
    given = [tasks["timeout"], tasks["held"], tasks["verified"], "nobody", "a b"]
    done = inside("replay", *given, "--class", "timeout", "--json")
    assert _ids(done) == {tasks["timeout"]}
    assert [each["kind"] for each in done.document["refused"]] == ["refused", "refused", "unknown_task", "unknown_task"]
    assert bench.store.read(tasks["held"]).state == "held"
    assert bench.store.snapshot(tasks["verified"]).crumbs[-1].event == "verify"


def test_dry_run_of_ids(inside: Inside, tasks: dict[str, str], bench: Bench) -> None:
    """What would be refused is told without a breadcrumb; exit 1 when all of it would be."""
    done = inside("replay", tasks["held"], tasks["verified"], tasks["running"], "nobody", "--dry-run", "--json")
    assert _ids(done) == {tasks["held"]}
    assert len(done.document["refused"]) == 3
    assert _ids(inside("replay", tasks["verified"], "--dry-run", "--json")) == set()
    assert bench.store.snapshot(tasks["verified"]).crumbs[-1].event == "verify"


def test_for_people(inside: Inside, tasks: dict[str, str]) -> None:
    """A line a task on stdout; where there is nothing, a sentence on stderr; nothing said is a usage error."""
    dry = inside("replay", "--class", "auth", "--dry-run")
    assert dry.stdout == f"would replay {tasks['held']}  note  held  auth\n"
    assert inside("replay", "--class", "auth").stdout == f"replayed {tasks['held']}\n"
    nothing = inside("replay", "--class", "auth")
    assert (nothing.code, nothing.stdout) == (exit_codes.ERROR, "")
    assert "There is nothing to replay" in nothing.stderr
    assert inside("replay", "--json").error == "usage"
    assert inside("replay", "--class", "nonsense").code == exit_codes.USAGE


def test_many_over_pages(inside: Inside, opened: Session, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than several pages, read a page at a time: all are replayed, each once, with words on stderr meanwhile."""
    made = [replace(birth(f"many-{n}"), id=f"many-{n:03}") for n in range(60)]
    for one in made:
        failure = Failure("timeout", "too long", fingerprint="f").to_dict()
        fields = {**one.fields, "failure": json.dumps(failure)}
        opened.store.enqueue(replace(one, state="failed", event="adopt_bad", fields=fields))
    monkeypatch.setattr(by_state, "PAGE", 7)
    monkeypatch.setattr(command, "SAY_S", 0.0)
    read: list[int] = []
    whole = type(opened.store).read_many

    def counted(store: Any, ids: Any) -> Any:
        read.append(len(ids))
        return whole(store, ids)

    monkeypatch.setattr(type(opened.store), "read_many", counted)
    done = inside("replay", "--class", "timeout", "--json")
    assert _ids(done) == {one.id for one in made}
    assert max(read) == 7
    assert "at most 60 to look at" in done.stderr


def test_what_fails_again_meanwhile_is_not_replayed_again(opened: Session, project: Project, bench: Bench) -> None:
    """Held tasks that fail at once after their replay are met again among the failed, and left alone."""
    ids = {_failed(project, bench, "auth", "f") for _ in range(5)}
    done = []
    for one in replaying.replay(opened, [], Wanted(agent="note"), "test", dry_run=False):
        done.append(one.id)
        assert bench.fail(one.id, "timeout") == "failed"
    assert sorted(done) == sorted(ids)
    events = [crumb.event for task_id in ids for crumb in bench.store.snapshot(task_id).crumbs]
    assert events.count("replay") == 5


def test_broken_off_and_asked_again(opened: Session, project: Project, bench: Bench) -> None:
    """A replay that ended midway goes on with the rest; nobody is replayed twice."""
    ids = {_failed(project, bench, "timeout", "f") for _ in range(6)}
    walk = replaying.replay(opened, [], Wanted(kind="timeout"), "test", dry_run=False)
    first = {next(walk).id for _ in range(2)}
    rest = {one.id for one in replaying.replay(opened, [], Wanted(kind="timeout"), "test", dry_run=False)}
    assert first | rest == ids
    assert not first & rest
    # The broken walk goes on after all: what it has read already is refused by the table.
    assert all(one.problem is not None for one in walk)


def test_members_are_walked_in_the_order_of_their_bytes(opened: Session) -> None:
    """Whatever the page, and though whoever was given is taken out meanwhile: each once, with the true number."""
    store, key = opened.store, keys.states("work")
    ids = sorted(["a", "B", "_x", "-y", "0", "10", "9", "aa", "a-a", "a_a", "Z", "zz"], key=str.encode)
    number = lifecycle.NUMBERS["failed"]
    for limit in (1, 2, 5, 100):
        store.client.zadd(key, dict.fromkeys(ids, number))
        store.client.zadd(key, {"before": number - 1, "after": number + 1})
        assert int(store.call("members", "work", "failed", "", limit)[1]) == len(ids)
        found = []
        after = ""
        while page := store.call("members", "work", "failed", after, limit)[2]:
            found += [raw.decode() for raw in page]
            after = found[-1]
            store.client.zadd(key, dict.fromkeys(page, lifecycle.NUMBERS["queued"]))
        assert found == ids
    assert store.call("members", "meta", "failed", "", 10)[1:] == [0, []]


def test_a_replay_is_no_stampede(inside: Inside, project: Project, bench: Bench) -> None:
    """`--rate` bounds how many come back each second, and a dry run need not wait."""
    for _ in range(6):
        _failed(project, bench, "timeout", "f1")
    begun = time.monotonic()
    assert len(_ids(inside("replay", "--class", "timeout", "--rate", "0.01", "--dry-run", "--json"))) == 6
    assert time.monotonic() - begun < 50
    begun = time.monotonic()
    assert len(_ids(inside("replay", "--class", "timeout", "--rate", "10", "--json"))) == 6
    assert time.monotonic() - begun >= 0.5
    assert inside("replay", "--class", "timeout", "--rate", "0").code == exit_codes.USAGE


def test_a_strangers_key_is_named(inside: Inside, bench: Bench) -> None:
    """Where the states are counted stands something else: an error that names it, and no half of a list."""
    bench.store.client.set(keys.states("work"), "stranger")
    done = inside("replay", "--class", "timeout", "--json")
    assert (done.code, done.error) == (exit_codes.ERROR, "damaged_key")


def test_a_replay_is_counted_anew(inside: Inside, project: Project, bench: Bench) -> None:
    """By a filter as by id: counters begin anew, the failure is gone, and the breadcrumb says who."""
    task_id = _failed(project, bench, "timeout", "f")
    assert bench.door.apply(task_id, Event("replay", "test")).ok
    assert bench.fail(task_id, "timeout") == "failed"
    assert inside("replay", "--agent", "note").code == 0
    task = bench.store.read(task_id)
    assert (task.state, task.counted, task.failure) == ("queued", 0, None)
    assert bench.store.snapshot(task_id).crumbs[-1].who.startswith("cli:")
