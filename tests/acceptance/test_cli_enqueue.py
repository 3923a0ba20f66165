"""`proofq enqueue` on real Redis: what is taken, what is refused, and that texts survive."""

from __future__ import annotations

import pytest

from proofq.workers.cli import exit_codes
from proofq.workers.session import Session
from tests.commands import Inside, Project


def test_enqueue_prints_the_id(project: Project, opened: Session) -> None:
    """For people stdout is the id alone; for scripts a document with id and state."""
    plain = project("enqueue", "note", "-i", "text=hi", "-i", "out=a")
    assert plain.code == 0
    assert opened.store.read(plain.stdout.strip()).inputs == {"text": "hi", "out": "a"}
    shown = project.inside("enqueue", "note", "-i", "text=hi", "-i", "out=a", "--json")
    assert {"id", "state"} <= shown.document.keys()
    assert shown.document["state"] == "queued"


def test_pairs_are_read_by_the_schema(project: Project, opened: Session) -> None:
    """Text as typed, numbers, true and false, lists and objects as JSON; the first = parts name and value."""
    words = ["text= a=b ", "out=7", "count=-3", "ratio=1e3", "yes=true", "some=[1, null]", 'more={"a": "b"}']
    done = project.inside("enqueue", "note", *[word for pair in words for word in ("-i", pair)], "--json")
    assert opened.store.read(done.document["id"]).inputs == {
        "text": " a=b ",
        "out": "7",
        "count": -3,
        "ratio": 1000.0,
        "yes": True,
        "some": [1, None],
        "more": {"a": "b"},
    }


def test_pairs_and_a_document_together(project: Project, opened: Session) -> None:
    """-i adds to --inputs."""
    done = project.inside("enqueue", "note", "-i", "out=a", "--inputs", '{"text": "hi"}', "--json")
    assert opened.store.read(done.document["id"]).inputs == {"text": "hi", "out": "a"}


BAD = {
    "repeated pair": ["-i", "text=a", "-i", "text=a", "-i", "out=b"],
    "pair and document": ["-i", "text=a", "--inputs", '{"text": "a", "out": "b"}'],
    "no pair": ["-i", "text"],
    "no name": ["-i", "=a"],
    "undeclared name": ["-i", "text=a", "-i", "out=b", "-i", "zest=1"],
    "not a number": ["-i", "text=a", "-i", "out=b", "-i", "count=1.5"],
    "not a bool": ["-i", "text=a", "-i", "out=b", "-i", "yes=yes"],
    "not a list": ["-i", "text=a", "-i", "out=b", "-i", "some={}"],
    "missing": ["-i", "text=a"],
    "empty": ["-i", "text=", "-i", "out=b"],
    "no JSON": ["--inputs", "{text: 1}"],
    "two documents": ["--inputs", "{} {}"],
    "duplicate key": ["--inputs", '{"text": "a", "text": "b", "out": "c"}'],
    "NaN": ["--inputs", '{"text": "a", "out": "b", "ratio": NaN}'],
    "no object": ["--inputs", "[1]"],
    "lone surrogate": ["--inputs", '{"text": "\\ud800", "out": "b"}'],
    "NUL": ["--inputs", '{"text": "\\u0000", "out": "b"}'],
    "naive time": ["-i", "text=a", "-i", "out=b", "--not-before", "2099-01-01T00:00:00"],
    "no time": ["-i", "text=a", "-i", "out=b", "--not-before", "tomorrow"],
    "no age": ["-i", "text=a", "-i", "out=b", "--max-age-s", "0"],
    "endless age": ["-i", "text=a", "-i", "out=b", "--max-age-s", "inf"],
    "long key": ["-i", "text=a", "-i", "out=b", "--key", "k" * 513],
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(inside: Inside, opened: Session, name: str) -> None:
    """Exit 2, kind bad_input, and no task."""
    done = inside("enqueue", "note", *BAD[name], "--json")
    assert (done.code, done.error) == (exit_codes.USAGE, "bad_input")
    assert opened.store.newest(0, 1) == []


def test_bytes_that_are_no_text_are_refused(project: Project) -> None:
    """An argument that is no UTF-8 is bad input, not a crash."""
    done = project("enqueue", "note", "-i", "text=\udcff", "-i", "out=b", "--json")
    assert (done.code, done.error) == (exit_codes.USAGE, "bad_input")


def test_an_unknown_agent_is_refused_unless_undeclared(project: Project) -> None:
    """Exit 2 with the nearest name; with --undeclared it waits for a worker, and `show` says so."""
    done = project.inside("enqueue", "nite", "--json")
    assert (done.code, done.error) == (exit_codes.USAGE, "unknown_agent")
    assert "note" in done.document["error"]["message"]
    task_id = project.inside("enqueue", "nite", "-i", "n=1", "--undeclared", "--json").document["id"]
    shown = project.inside("show", task_id, "--json").document
    assert shown["inputs"] == {"n": "1"}
    assert shown["waiting_for"] == {"what": "worker", "name": "nite", "until": None}


def test_a_key_is_idempotent_and_conflicts(project: Project) -> None:
    """The same request again gives the same id; with other inputs exit 2, kind key_conflict."""
    words = ["enqueue", "note", "-i", "text=a", "-i", "out=b", "--key", "день 🗓", "--json"]
    first, again = project.inside(*words), project.inside(*words)
    assert (first.document["id"], first.document["created"]) == (again.document["id"], True)
    assert again.document["created"] is False
    other = project.inside("enqueue", "note", "-i", "text=x", "-i", "out=b", "--key", "день 🗓", "--json")
    assert (other.code, other.error) == (exit_codes.USAGE, "key_conflict")


def test_texts_survive_the_command_line(project: Project) -> None:
    """NFC and NFD, emoji, right-to-left and control characters are shown as they were given."""
    text = "\u00e9 e\u0301 👩‍👧 \u202eabc\u202c \x1b[31m \u2028"
    task_id = project.enqueue("note", text=text, out="a")
    assert project.inside("show", task_id, "--json").document["inputs"]["text"] == text
    assert "\x1b" not in project.inside("show", task_id).stdout


def test_a_time_to_come_defers(project: Project) -> None:
    """--not-before keeps the task deferred until then, and `why` says when, or that it will not live that long."""
    words = ["enqueue", "note", "-i", "text=a", "-i", "out=b", "--json"]
    done = project.inside(*words, "--not-before", "2099-12-31T23:00:00+01:00", "--max-age-s", "315360000")
    assert (done.code, done.document["state"]) == (0, "deferred")
    shown = project.inside("show", done.document["id"], "--json").document
    assert shown["not_before"] == "2099-12-31T22:00:00.000Z"
    assert shown["waiting_for"] == {"what": "time", "name": None, "until": "2099-12-31T22:00:00.000Z"}
    late = project.inside(*words, "--not-before", "2099-12-31T23:00:00Z").document["id"]
    assert "before its time comes" in project.inside("why", late).stdout
