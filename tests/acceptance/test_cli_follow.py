"""`proofq logs -f`: what real attempts print, as they print it, to the end of the attempt or the task."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proofq.policies import lifecycle
from proofq.workers.cli import exit_codes
from tests.acceptance.harness import Site
from tests.commands import Inside, Project
from tests.waiting import until
from tests.workbench import Bench

#: One process has the site and its worker for all of them.
pytestmark = pytest.mark.xdist_group("cli_follow")
TOML = """
[agents.two_words]
command = ["sh", "-c", "echo one; echo aside >&2; while [ ! -e \\"$0\\" ]; do sleep 0.05; done; printf two", "{go}"]
inputs = { go = "str" }
unproven = true

[agents.counts]
command = ["sh", "-c", "seq 1 600000; echo the last word"]
unproven = true

[agents.second_time]
command = ["sh", "-c", "echo attempt $0; [ $0 -gt 1 ]", "{attempt}"]
max_attempts = 2
unproven = true
"""


def _site() -> Site:
    """One with agents that print."""
    made = Site()
    toml = made.project / "proofq.toml"
    toml.write_text(toml.read_text() + TOML)
    return made


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A worker that serves them."""
    with _site() as made:
        made.start().wait_ready()
        yield made


@pytest.fixture
def lonely() -> Iterator[Site]:
    """One whose Redis goes away."""
    with _site() as made:
        made.start().wait_ready()
        yield made


@contextmanager
def paused(site: Site, agent: str) -> Iterator[None]:
    """What is enqueued meanwhile is queued until the end of it."""
    assert site.inside("pause", agent).code == 0
    try:
        yield
    finally:
        assert site.inside("resume", agent).code == 0


class Following:
    """A running `proofq logs -f`, with what it has shown so far."""

    def __init__(self, site: Site, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "proofq", "logs", *words],
            cwd=site.project, env=os.environ | site.environ(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.shown = {"stdout": b"", "stderr": b""}
        self._threads = [threading.Thread(target=self._read, args=(name,)) for name in self.shown]
        for thread in self._threads:
            thread.start()

    def _read(self, name: str) -> None:
        stream = getattr(self.process, name)
        while data := os.read(stream.fileno(), 65536):
            self.shown[name] += data

    def wait_for(self, text: bytes, name: str = "stdout") -> None:
        until(lambda: text in self.shown[name], 30, f"{text!r} on {name} of {self.shown}")

    def end(self, within_s: float = 30) -> int:
        """Its exit code, once it has ended by itself."""
        code = self.process.wait(within_s)
        for thread in self._threads:
            thread.join(10)
        return code


def test_from_before_the_first_attempt_to_the_end(site: Site) -> None:
    """Begun while the task is queued: words come while it runs, both streams under their names; exit 0 at the end."""
    go = site.out("go-whole")
    with paused(site, "two_words"):
        task_id = site.enqueue("two_words", go=go)
        following = Following(site, task_id, "-f")
        following.wait_for(b"it is queued; its next attempt is waited for", "stderr")
    following.wait_for(b"one\n")
    following.wait_for(b"aside\n")
    assert site.task(task_id).state == lifecycle.RUNNING
    assert following.process.poll() is None
    Path(go).touch()
    assert following.end() == 0
    assert sorted(following.shown["stdout"].split()) == [b"aside", b"one", b"two"]
    assert following.shown["stdout"].endswith(b"two\n")
    for said in (b"--- stdout of attempt 1 (", b"--- stderr of attempt 1 (", b"attempt 1 ended as"):
        assert said in following.shown["stderr"]


def test_further_attempts_are_followed(site: Site) -> None:
    """A crash and its retry: both attempts are shown; with --attempt 1 it ends with the first."""
    with paused(site, "second_time"):
        task_id = site.enqueue("second_time")
        whole = Following(site, task_id, "-f")
        whole.wait_for(b"is waited for", "stderr")
    whole.wait_for(b"attempt 1\n")
    first = Following(site, task_id, "-f", "--attempt", "1")
    assert first.end() == 0
    assert first.shown["stdout"] == b"attempt 1\n"
    assert whole.end() == 0
    assert whole.shown["stdout"] == b"attempt 1\nattempt 2\n"
    assert b"attempt 1 ended as failed" in whole.shown["stderr"]


def test_the_document_comes_at_the_end(site: Site) -> None:
    """With --json what is printed goes to stderr as it comes, and stdout has the one document."""
    task_id = site.enqueue("two_words", go=site.out("go-document"))
    following = Following(site, task_id, "-f", "--json")
    following.wait_for(b"one\n", "stderr")
    assert following.shown["stdout"] == b""
    (site.files / "go-document").touch()
    assert following.end() == 0
    plain = site.inside("logs", task_id, "--json")
    assert following.shown["stdout"].decode() == plain.stdout
    assert plain.document["tail"] == "one\ntwo\naside\n"


def test_a_flood_beyond_the_cap_ends_with_its_last_word(site: Site) -> None:
    """Four times more than is kept, as fast as it goes: nothing comes twice or out of order, and gaps are told."""
    with paused(site, "counts"):
        task_id = site.enqueue("counts")
        following = Following(site, task_id, "-f")
        following.wait_for(b"is waited for", "stderr")
    assert following.end(60) == 0
    *lines, last = following.shown["stdout"].decode().splitlines()
    assert last == "the last word"
    # A gap may begin behind the end of a line, and end before that of another.
    numbers = [int(line) for line in lines if line]
    gaps = [pair for pair in itertools.pairwise(numbers[1:]) if pair[1] != pair[0] + 1]
    told = following.shown["stderr"].count(b"some stdout of attempt 1 is gone")
    # Around a gap a number may be cut on either side: three steps that are not by one.
    assert len(gaps) <= 3 * told
    assert numbers[-1] == 600_000
    assert len(numbers) >= 60_000


def test_ctrl_c_leaves_the_task_alone(site: Site) -> None:
    """Exit 130 with a sentence, no traceback, and the task runs on."""
    task_id = site.enqueue("two_words", go=site.out("go-never"))
    following = Following(site, task_id, "-f")
    following.wait_for(b"one\n")
    following.process.send_signal(signal.SIGINT)
    assert following.end() == exit_codes.INTERRUPTED
    assert f"task {task_id} goes on".encode() in following.shown["stderr"]
    assert b"Traceback" not in following.shown["stderr"]
    assert site.task(task_id).state == lifecycle.RUNNING


def test_what_cannot_be_followed(inside: Inside, project: Project, bench: Bench) -> None:
    """An unknown id, an attempt that is none, output on another host, and a task that ended without any: exit 1."""
    cancelled = project.enqueue()
    bench.to(cancelled, lifecycle.CANCELLED)
    assert "has not begun any attempt" in inside("logs", cancelled, "-f").stderr
    elsewhere = project.enqueue()
    bench.run(elsewhere)
    done = inside("logs", elsewhere, "-f", "--json")
    assert (done.code, done.error) == (exit_codes.ERROR, "error")
    assert "on host bench-host, and its output is kept there" in done.document["error"]["message"]
    assert inside("logs", elsewhere, "-f", "--attempt", "7").code == exit_codes.ERROR
    assert inside("logs", "nobody", "-f", "--json").error == "unknown_task"


def test_an_outage_of_redis_is_waited_out(lonely: Site) -> None:
    """What is printed meanwhile still comes, since it is read from the files; afterwards the end is seen."""
    task_id = lonely.enqueue("two_words", go=lonely.out("go"))
    following = Following(lonely, task_id, "-f")
    following.wait_for(b"one\n")
    lonely.server.stop()
    following.wait_for(b"Redis does not answer; still following", "stderr")
    (lonely.files / "go").touch()
    following.wait_for(b"two")
    lonely.server.start()
    assert following.end(60) == 0
    assert lonely.task(task_id).state == lifecycle.FINISHED_UNPROVEN
