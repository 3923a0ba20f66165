"""`proofq incident`: list, show, ack, close, and the dead letters, on real Redis."""

from __future__ import annotations

from typing import Any

import pytest

from proofq.policies.failure import Failure
from proofq.policies.incident_rules import Rules
from proofq.policies.settlement import Limits
from proofq.workers import keys
from proofq.workers.cli import exit_codes
from proofq.workers.door import Door
from proofq.workers.incidents import Reporting
from tests.commands import Inside, Project
from tests.workbench import Bench

ITEM = {
    "id", "state", "severity", "class", "provider", "agent", "fingerprint", "count", "tasks", "first_task", "last_task",
    "first_at", "last_at", "opened_at", "notified_at", "acked_at", "closed_at", "acked_by", "closed_by",
    "notifications", "escalations", "parked", "reason",
}  # fmt: skip


@pytest.fixture
def fails(project: Project, bench: Bench) -> Any:
    """Lets a fresh task fail; its id."""
    reporting = Reporting(Rules(), {"note": "openai"}, bench.store.clock)
    bench.door = Door(bench.store, Limits(), incident_of=reporting.of)

    def fail(kind: str, fingerprint: str = "f1", agent: str = "note", reason: str = "for a reason") -> str:
        task_id = project.enqueue(agent)
        bench.event(bench.run(task_id), "failed", failure=Failure(kind, reason, fingerprint=fingerprint))
        return task_id

    return fail


def _items(inside: Inside, *words: str) -> list[dict[str, Any]]:
    done = inside("incident", *words, "--json")
    assert done.code == 0
    items: list[dict[str, Any]] = done.document["items"]
    return items


def test_nothing_yet(inside: Inside, project: Project) -> None:
    """No incidents, no dead letters, and no error."""
    assert _items(inside, "list") == _items(inside) == _items(inside, "dead") == []
    assert "no incidents" in inside("incident", "list").stdout
    assert "no dead letters" in inside("incident", "dead").stdout


def test_an_item_has_its_fields(inside: Inside, fails: Any) -> None:
    """The names that scripts rely on; the provider is to blame where it is."""
    first, last = fails("timeout"), fails("timeout", reason="\x1b[31mred")
    (one,) = _items(inside, "list")
    assert one.keys() == ITEM
    assert (one["state"], one["class"], one["agent"], one["provider"]) == ("open", "timeout", "note", None)
    assert (one["count"], one["tasks"], one["first_task"], one["last_task"]) == (2, 2, first, last)
    assert (one["notified_at"], one["parked"], one["notifications"]) == (None, False, 0)
    fails("auth")
    (two,) = _items(inside, "list", "--class", "auth")
    assert (two["provider"], two["agent"], two["severity"]) == ("openai", None, "critical")
    shown = inside("incident", "list").stdout
    assert "openai" in shown.splitlines()[1], "the severe come first"
    assert "\x1b" not in inside("incident", "show", one["id"]).stdout


def test_show_has_samples_and_who_was_told(inside: Inside, fails: Any) -> None:
    """The first tasks by id, and what every item has."""
    ids = [fails("timeout") for _ in range(12)]
    (one,) = _items(inside, "list")
    shown = inside("incident", "show", one["id"], "--json").document
    assert shown["samples"] == ids[:10]
    assert shown.keys() >= ITEM | {"delivered", "problem"}
    assert "timeout of agent note (f1): 12 failures" in inside("incident", "show", one["id"]).stdout


def test_ack_and_close(inside: Inside, fails: Any) -> None:
    """Who did it stands there; status tells only of the open; a closed one cannot be acknowledged."""
    fails("timeout")
    fails("timeout")
    (one,) = _items(inside, "list")
    assert one["id"] in "\n".join(inside("status", "--json").document["attention"])
    done = inside("incident", "ack", one["id"], "--json")
    assert (done.code, done.document["ids"], done.document["state"]) == (0, [one["id"]], "acked")
    status = inside("status", "--json").document
    assert [row["state"] for row in status["incidents"]] == ["acked"]
    assert one["id"] not in "\n".join(status["attention"])
    assert inside("incident", "close", one["id"]).code == 0
    (closed,) = _items(inside, "list", "--state", "closed")
    assert closed["acked_by"].startswith("cli:")
    assert closed["closed_by"].startswith("cli:")
    assert inside("status", "--json").document["incidents"] == []
    refused = inside("incident", "ack", one["id"], "--json")
    assert refused.code == exit_codes.ERROR
    assert "closed" in refused.document["error"]["message"]


@pytest.mark.parametrize("word", ["show", "ack", "close"])
def test_an_unknown_id_is_an_error(inside: Inside, project: Project, word: str) -> None:
    """Exit 1, with a sentence that says how to find the right one."""
    done = inside("incident", word, "nobody", "--json")
    assert done.code == exit_codes.ERROR
    assert done.document["error"]["kind"] == "unknown_incident"
    assert "proofq incident list" in done.document["error"]["message"]


def test_unknown_causes_are_ranked(inside: Inside, fails: Any) -> None:
    """What no class fits, the most frequent first, those below the threshold too."""
    for fingerprint, times in (("rare", 1), ("often", 5), ("twice", 2)):
        for _ in range(times):
            fails("unknown", fingerprint)
    found = _items(inside, "list", "--class", "unknown", "--seen")
    assert [(one["fingerprint"], one["count"]) for one in found] == [("often", 5), ("twice", 2), ("rare", 1)]
    assert [one["fingerprint"] for one in _items(inside, "list")] == ["often", "twice"]


def test_why_and_show_name_the_incident(inside: Inside, fails: Any) -> None:
    """A task says of how many equal failures it is one; `tasks` finds the others by their fingerprint."""
    first = fails("timeout")
    assert "It is the only failure so far of one cause." in inside("why", first).stdout
    ids = {first, *(fails("timeout") for _ in range(4))}
    fails("timeout", "f2")
    (one,) = _items(inside, "list")
    assert f"It is one of 5 equal failures of one cause, incident {one['id']} (open)." in inside("why", first).stdout
    assert inside("show", first, "--json").document["attempts"][-1]["incident"] == one["id"]
    listed = inside("tasks", "--class", "timeout", "--fingerprint", "f1", "--json").document["items"]
    assert {item["id"] for item in listed} == ids


def test_dead_letters_by_class_and_fingerprint(inside: Inside, fails: Any) -> None:
    """Each group says how many are in which state, and the command that would replay exactly those."""
    ids = [fails("timeout", "f1") for _ in range(3)]
    fails("timeout", "f2")
    fails("policy_error", "f1")
    groups = _items(inside, "dead")
    assert [(one["class"], one["fingerprint"], one["count"]) for one in groups] == [
        ("timeout", "f1", 3), ("policy_error", "f1", 1), ("timeout", "f2", 1),
    ]  # fmt: skip
    assert groups[0]["states"] == {"failed": 3}
    assert groups[1]["states"] == {"quarantined": 1}
    dry = inside(*groups[0]["replay"][1:], "--json")
    assert set(dry.document["ids"]) == set(ids)
    assert dry.document["dry_run"]
    assert len(_items(inside, "dead", "--class", "policy_error")) == 1
    assert "--fingerprint f2 --dry-run" in inside("incident", "dead").stdout


def test_a_strangers_key_is_named(inside: Inside, project: Project) -> None:
    """The list says which key it is; status goes on without incidents."""
    project.session().store.client.set(keys.INCIDENTS, "stranger")
    done = inside("incident", "list", "--json")
    assert (done.code, done.document["error"]["kind"]) == (exit_codes.ERROR, "damaged_key")
    assert keys.INCIDENTS in done.document["error"]["message"]
    assert inside("status", "--json").document["incidents"] == []
