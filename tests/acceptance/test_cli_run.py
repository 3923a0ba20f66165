"""`proofq run` and `proofq worker` with real workers: every end has its exit code."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from proofq.workers import fleet
from proofq.workers.cli import exit_codes
from tests.commands import Project
from tests.servers import PrivateServer
from tests.waiting import until

#: A busy host starts Pythons slowly.
READY_S = 40.0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, redis_server: PrivateServer) -> Iterator[Project]:
    """A project with one worker, on the module's Redis."""
    project = Project(tmp_path_factory.mktemp("served"), redis_server.url)
    with (project.root / "worker.log").open("w") as log:
        worker = project.start("worker", "--drain-s", "1", stderr=log.fileno())
        opened = project.session()
        until(lambda: fleet.serves(opened.store, "note", "work"), READY_S, "the worker")
        yield project
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0


ENDS = {
    "verified": (["note", "-i", "text=hello", "-i", "out=a.txt"], exit_codes.OK, None),
    "finished_unproven": (["steady", "-i", "seconds=0"], exit_codes.UNPROVEN, None),
    "failed": (["slow", "-i", "seconds=60"], exit_codes.FAILED, "timeout"),
    "quarantined": (["liar"], exit_codes.QUARANTINED, "unverified"),
    "expired": (["nobody", "--undeclared", "--max-age-s", "0.5"], exit_codes.CANCELLED, "no_progress"),
}


@pytest.mark.parametrize("state", ENDS)
def test_run_ends_as_its_task_does(served: Project, state: str) -> None:
    """The exit code says how the task ended, stdout is the document of show, stderr told the way there."""
    words, code, kind = ENDS[state]
    done = served("run", *words, "--timeout", "50", "--json")
    shown = done.document
    assert (shown["state"], done.code) == (state, code), done
    assert (shown["failure"] or {}).get("class") == kind
    assert shown == served.inside("show", shown["id"], "--json").document
    told = [line.split() for line in done.stderr.splitlines()]
    for crumb in shown["breadcrumbs"]:
        assert any(crumb["event"] in words and crumb["to"] in words for words in told), crumb


def test_run_tells_people_why(served: Project) -> None:
    """Without --json stdout is the paragraph of why, alone."""
    done = served.inside("run", "liar", "--timeout", "50")
    assert done.code == exit_codes.QUARANTINED
    assert "the file proof found it not so" in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_a_verified_task_has_what_its_proofs_saw(served: Project) -> None:
    """show has the evidence, and absolute paths: of what the attempt wrote, and of what it would have printed."""
    shown = served.inside("run", "note", "-i", "text=hello", "-i", "out=b.txt", "--timeout", "50", "--json").document
    [attempt] = shown["attempts"]
    assert (attempt["n"], attempt["outcome"], attempt["host"]) == (1, "verified", os.uname().nodename)
    assert (Path(attempt["workdir"]) / "b.txt").read_text() == "hello"
    assert all(Path(attempt[name]) == Path(attempt["workdir"]).with_name(name) for name in ("stdout", "stderr"))
    assert Path(shown["taskdir"]).is_dir()
    [proof] = shown["verdict"]["proofs"]
    assert (proof["kind"], proof["outcome"]) == ("file", "verified")
    assert proof["evidence"]["size"] == 5


def test_run_stops_following_at_its_timeout(served: Project) -> None:
    """Exit 6 with the task as it stands, which goes on; 0 looks once."""
    done = served.inside("run", "nobody", "--undeclared", "--timeout", "0", "--json")
    assert (done.code, done.document["state"]) == (exit_codes.TIMEOUT, "queued")
    done = served.inside("run", "steady", "-i", "seconds=60", "--timeout", "2", "--json")
    assert done.code == exit_codes.TIMEOUT
    assert served.inside("cancel", done.document["id"]).code == 0


def test_cancelling_what_runs(served: Project) -> None:
    """A cancel of a running task stops it, and its follower ends with 5."""
    follower = served.start("run", "steady", "-i", "seconds=60", "--json")
    assert follower.stderr is not None
    lines = iter(follower.stderr.readline, "")
    task_id = next(line.split()[1] for line in lines if line.startswith("task "))
    assert any("running" in line for line in lines)
    assert served.inside("cancel", task_id).code == 0
    follower.communicate(timeout=30)
    assert follower.returncode == exit_codes.CANCELLED


def test_ctrl_c_stops_the_following_alone(served: Project) -> None:
    """The follower ends with 130 and one document; its task goes on."""
    follower = served.start("run", "steady", "-i", "seconds=60", "--json")
    assert follower.stderr is not None
    task_id = next(line.split()[1] for line in iter(follower.stderr.readline, "") if line.startswith("task "))
    follower.send_signal(signal.SIGINT)
    stdout, _ = follower.communicate(timeout=30)
    assert follower.returncode == exit_codes.INTERRUPTED
    assert '"interrupted"' in stdout
    assert served.inside("show", task_id, "--json").document["state"] in {"queued", "leased", "running"}
    assert served.inside("cancel", task_id).code == 0


def test_ctrl_c_says_how_to_go_on(served: Project) -> None:
    """For people: the id, that the task goes on, and how to stop it."""
    follower = served.start("run", "steady", "-i", "seconds=60")
    assert follower.stderr is not None
    task_id = next(line.split()[1] for line in iter(follower.stderr.readline, "") if line.startswith("task "))
    follower.send_signal(signal.SIGINT)
    stdout, stderr = follower.communicate(timeout=30)
    assert (follower.returncode, stdout) == (exit_codes.INTERRUPTED, "")
    assert f"task {task_id} goes on" in stderr
    assert f"`proofq cancel {task_id}` stops it" in stderr
    assert served.inside("cancel", task_id).code == 0


def test_waits_and_proofs_are_told(served: Project) -> None:
    """A deferred task says until when, an ended one what each proof found."""
    done = served.inside(
        "run", "note", "-i", "text=hi", "-i", "out=c.txt", "--not-before", "2040-01-01T00:00:00Z", "--timeout", "0"
    )
    assert done.code == exit_codes.TIMEOUT
    assert "until 2040-01-01T00:00:00" in done.stderr
    assert "proof        file unverified" in served.inside("run", "liar", "--timeout", "50").stderr


def test_a_terminal_gets_one_more_line(served: Project) -> None:
    """On a terminal a line that renews itself says how things stand; the transitions stay above it."""
    ours, theirs = os.openpty()
    follower = served.start("run", "steady", "-i", "seconds=1", "--json", stderr=theirs)
    os.close(theirs)
    shown = b""
    while follower.poll() is None or shown == b"":
        try:
            shown += os.read(ours, 65536)
        except OSError:
            break
    stdout, _ = follower.communicate(timeout=30)
    os.close(ours)
    assert follower.returncode == exit_codes.UNPROVEN
    assert b"running  " in shown
    assert b"finish_unproven" in shown
    assert stdout.count("\n") == 1


def test_a_lonely_task_is_told(served: Project) -> None:
    """Following a task that no live worker would take says so."""
    done = served.inside("run", "nobody", "--undeclared", "--timeout", "4")
    assert done.code == exit_codes.TIMEOUT
    assert "no live worker declares nobody" in done.stderr


def test_doctor_of_a_sound_place(served: Project) -> None:
    """All checks hold beside a running worker: exit 0."""
    done = served("doctor", "--json")
    assert (done.code, done.document["ok"]) == (0, True), done
    assert {"name", "ok", "detail"} == done.document["checks"][0].keys()
    assert "all is well" in served("doctor").stdout


def test_following_lives_through_an_outage(tmp_path: Path, redis_binary: str) -> None:
    """Redis going away and coming back is told, and the following goes on."""
    with PrivateServer(redis_binary) as server:
        follower = Project(tmp_path, server.url).start("run", "liar", "--timeout", "60")
        assert follower.stderr is not None
        lines = iter(follower.stderr.readline, "")
        assert any("enqueue" in line for line in lines)
        server.stop()
        assert any("does not answer" in line for line in lines)
        server.start()
        assert any("is back" in line for line in lines)
        follower.send_signal(signal.SIGINT)
        follower.communicate(timeout=30)


def test_a_burst_ends_when_nothing_is_ready(tmp_path: Path, redis_binary: str) -> None:
    """`proofq worker --burst` does what is there and exits 0, its log on stderr and one document on stdout."""
    with PrivateServer(redis_binary) as server:
        project = Project(tmp_path, server.url)
        ids = [project.enqueue(text="x", out="o") for _ in range(3)]
        done = project("worker", "--burst", "--json", within_s=90)
        assert done.code == 0, done
        assert done.document["exit_code"] == 0
        assert {project.session().store.read(task_id).state for task_id in ids} == {"verified"}


def test_a_lane_without_slots_is_refused(tmp_path: Path, redis_server: PrivateServer) -> None:
    """Serving nothing at all is a mistake, and told: exit 2."""
    done = Project(tmp_path, redis_server.url)("worker", "--lane", "meta", "--json")
    assert (done.code, done.error) == (exit_codes.USAGE, "bad_input")
