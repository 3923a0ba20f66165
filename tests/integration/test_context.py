"""`ctx` in the agent's process: its state on disk, and progress through a real pipe."""

from __future__ import annotations

import json
import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proofq.workers import places
from proofq.workers.context import MAX_STATE_BYTES, Context
from proofq.workers.errors import BadInput
from proofq.workers.output import Capture
from proofq.workers.report import MAX_PROGRESS_BYTES, Reporter, ReportReader


class Said:
    """A context, and what comes out at the other end of its pipe."""

    def __init__(self, taskdir: Path) -> None:
        self.reading, self.writing = os.pipe()
        self.taskdir = taskdir
        self.context = self.again()
        self.reader = ReportReader(silent=False)

    def again(self) -> Context:
        """The context of a further attempt."""
        return Context("t", 1, str(self.taskdir), str(self.taskdir), Reporter(self.writing))

    def close(self) -> None:
        """Close what is still open."""
        for end in (self.writing, self.reading):
            if end >= 0:
                os.close(end)
        self.writing = self.reading = -1

    def heard(self) -> tuple[int, str]:
        """How often evidence came, and the latest; ends the pipe."""
        os.close(self.writing)
        self.writing = -1
        while data := os.read(self.reading, 65536):
            self.reader.feed(data)
        return self.reader.progress_count, self.reader.progress


@pytest.fixture
def said(tmp_path: Path) -> Iterator[Said]:
    """One whose task has a folder of its own."""
    one = Said(tmp_path)
    yield one
    one.close()


# --- progress ---


def test_a_burst_is_passed_on_once_and_its_last_evidence_is_not_lost(said: Said) -> None:
    """A tight loop of new evidence makes a handful of lines."""
    for number in range(20_000):
        said.context.progress({"n": number})
    said.context.tell()
    said.context.tell()
    count, latest = said.heard()
    assert 2 <= count <= 200
    assert json.loads(latest) == {"n": 19_999}


def test_equal_evidence_is_no_progress(said: Said) -> None:
    """The same evidence again, also with its pause over and as another object, is not passed on."""
    for _ in range(3):
        said.context.progress({"a": [1], "b": None})
        said.context._next_s = 0.0
    said.context.tell()
    assert said.heard() == (1, '{"a":[1],"b":null}')


@pytest.mark.parametrize("evidence", [float("nan"), {1: 2}, "\ud800", object(), "x" * MAX_PROGRESS_BYTES])
def test_what_is_no_evidence(said: Said, evidence: Any) -> None:
    """What JSON cannot carry and what is too long is told to the agent, and nothing is passed on."""
    with pytest.raises(BadInput):
        said.context.progress(evidence)
    assert said.heard() == (0, "")


def test_what_an_agent_writes_to_the_pipe_itself(said: Said) -> None:
    """Evidence that ctx.progress would have refused counts for nothing, and spoils nothing."""
    for line in (b'{"progress":"%s"}' % (b"x" * 5000), b'{"progress":"\\ud800"}'):
        os.write(said.writing, line + b"\n")
    said.context.progress("ok")
    assert said.heard() == (1, '"ok"')


def test_threads_may_tell_while_the_result_is_sent(said: Said) -> None:
    """A result larger than the pipe and progress from another thread do not get into each other's lines."""
    reporter, over = Reporter(said.writing), threading.Event()

    def tells() -> None:
        number = 0
        while not over.is_set():
            reporter.send("progress", json.dumps({"n": number, "long": "x" * 3000}).encode())
            number += 1

    def sends() -> None:
        reporter.send("result", b'"' + b"r" * 500_000 + b'"')
        over.set()

    threads = [threading.Thread(target=one) for one in (tells, sends)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if select.select([said.reading], [], [], 0.05)[0]:
            said.reader.feed(os.read(said.reading, 65536))
    assert said.heard()[0] >= 0
    assert said.reader.last == {"result": "r" * 500_000}


# --- state ---


def test_state_is_there_again(said: Said) -> None:
    """What was assigned is there in the next attempt, and what was deleted is not."""
    said.context.state["done"] = ["a", {"é": None}]
    said.context.state["gone"] = 1
    del said.context.state["gone"]
    assert dict(said.again().state) == {"done": ["a", {"é": None}]}
    assert [path.name for path in said.taskdir.iterdir()] == ["state.json"]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("x" * MAX_STATE_BYTES, "at most 65536 are taken; write it to a file instead"),
        (float("nan"), "ctx.state is no JSON"),
        ({1: "a"}, "keys of JSON are text"),
        ("\ud800", "half a surrogate pair"),
        (object(), "ctx.state is no JSON"),
    ],
)
def test_what_state_refuses(said: Said, value: Any, sentence: str) -> None:
    """Too much, and what JSON cannot carry: a sentence, and the state as it was, in memory and on disk."""
    said.context.state["kept"] = 1
    with pytest.raises(BadInput, match=sentence):
        said.context.state["more"] = value
    assert dict(said.context.state) == dict(said.again().state) == {"kept": 1}


def test_state_fits_to_the_byte(said: Said) -> None:
    """64 KiB of JSON are taken, one byte more is not."""
    room = MAX_STATE_BYTES - len('{"n":""}')
    said.context.state["n"] = "x" * room
    with pytest.raises(BadInput):
        said.context.state["n"] = "x" * (room + 1)
    assert len((said.taskdir / "state.json").read_bytes()) == MAX_STATE_BYTES


@pytest.mark.parametrize("text", [b"", b'{"n": 1', b"[]", b"\xff"])
def test_a_state_that_is_none(said: Said, text: bytes) -> None:
    """A file that somebody else spoiled is told by name, and not taken for an empty state."""
    (said.taskdir / "state.json").write_bytes(text)
    with pytest.raises(BadInput, match=r"state\.json is no JSON object; remove it"):
        said.context.state.get("n")


def test_a_missing_key(said: Said) -> None:
    """State is a mapping like any other."""
    with pytest.raises(KeyError):
        said.context.state["none"]
    with pytest.raises(KeyError):
        del said.context.state["none"]


# --- folders ---


def test_folders_that_nobody_made_are_there_once_they_are_asked_for(tmp_path: Path) -> None:
    """Private, whichever is asked for; an agent that asks for neither leaves none."""
    for number, ask in enumerate(("workdir", "taskdir", "state")):
        mine = places.of(tmp_path, f"t{number}", 1)
        context = Context("t", 1, mine.work, mine.task, Reporter(1), makes=True)
        assert not mine.taskdir.exists()
        assert getattr(context, ask) is not None
        made = [mine.taskdir, mine.taskdir / "1", mine.workdir]
        assert [folder.stat().st_mode & 0o777 for folder in made] == [0o700] * 3
        assert (context.workdir, context.taskdir) == (mine.workdir, mine.taskdir)


def test_what_is_printed_makes_the_folders_above_it(tmp_path: Path) -> None:
    """Of an attempt whose folders nobody made; one that prints nothing makes none."""
    mine = places.of(tmp_path, "t", 1)
    for text in (b"", b"line\n"):
        capture = Capture(mine.stdout, makes=True)
        capture.write(text)
        capture.close()
        assert mine.taskdir.exists() == bool(text)
    assert mine.stdout.read_bytes() == b"line\n"
    assert mine.stdout.parent.stat().st_mode & 0o777 == 0o700
