"""Typical mistakes: each is told with what to do about it, and nothing is enqueued."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from proofq.workers import keys
from proofq.workers.cli import exit_codes
from tests.acceptance.harness import program
from tests.commands import Project

NOTE = ("-i", "text=a", "-i", "out=b")


@dataclass(frozen=True)
class Mistake:
    """A command line, the exit code, the error's kind, and words that say what to do."""

    words: tuple[str, ...]
    code: int
    kind: str
    advice: str


MISTAKES = {
    "unknown id": Mistake(("show", "nope"), 1, "unknown_task", "`proofq tasks` lists"),
    "id that cannot be one": Mistake(("why", "a/b"), 1, "unknown_task", "`proofq tasks` lists"),
    "logs of an unknown id": Mistake(("logs", "nope"), 1, "unknown_task", "`proofq tasks` lists"),
    "cancel of an unknown id": Mistake(("cancel", "nope"), 1, "unknown_task", "`proofq tasks` lists"),
    "misspelled agent": Mistake(("enqueue", "ntoe", *NOTE), 2, "unknown_agent", "Did you mean note"),
    "unknown agent": Mistake(("enqueue", "zzz"), 2, "unknown_agent", "Known are"),
    "bad name of an agent": Mistake(("enqueue", "no te"), 2, "unknown_agent", "letters, digits, _ and -"),
    "misspelled command": Mistake(("shwo", "x"), 2, "usage", "Did you mean show?"),
    "misspelled option": Mistake(("run", "note", *NOTE, "--timout", "5"), 2, "usage", "--timeout"),
    "-i without =": Mistake(("enqueue", "note", "-i", "text"), 2, "bad_input", "="),
    "wrong type of an input": Mistake(("enqueue", "note", *NOTE, "-i", "count=many"), 2, "bad_input", "count"),
    "missing input": Mistake(("enqueue", "note", "-i", "text=a"), 2, "bad_input", "out"),
    "extra input": Mistake(("enqueue", "note", *NOTE, "-i", "colour=red"), 2, "bad_input", "colour"),
    "empty required input": Mistake(("enqueue", "note", "-i", "text=", "-i", "out=b"), 2, "bad_input", "text"),
    "input said twice": Mistake(("enqueue", "note", *NOTE, "-i", "out=c"), 2, "bad_input", "out"),
    "--inputs that is no JSON": Mistake(("enqueue", "note", "--inputs", "{text: a}"), 2, "bad_input", "JSON"),
    "--inputs that is no object": Mistake(("enqueue", "note", "--inputs", "[1]"), 2, "bad_input", "object"),
    "time without an offset": Mistake(
        ("enqueue", "note", *NOTE, "--not-before", "2030-01-01T00:00:00"), 2, "bad_input", "offset"
    ),
    "negative age": Mistake(("enqueue", "note", *NOTE, "--max-age-s", "-1"), 2, "bad_input", "max_age_s"),
    "no time at all": Mistake(("run", "note", *NOTE, "--timeout", "nan"), 2, "usage", "seconds"),
    "unknown state": Mistake(("tasks", "--state", "asleep"), 2, "usage", "queued"),
    "no slots": Mistake(("worker", "--slots", "0"), 2, "bad_input", "slots"),
    "not built": Mistake(("schedule", "list"), 2, "not_built", "not built yet"),
    "after of nothing": Mistake(("enqueue", "note", *NOTE, "--after", "x"), 2, "bad_input", "no task has the id x"),
    "no command": Mistake(("run",), 2, "usage", "--help"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_what_to_do(project: Project, name: str) -> None:
    """One sentence on stderr, the right exit code and kind, no traceback, and nothing enqueued."""
    mistake = MISTAKES[name]
    done = project.inside(*mistake.words)
    assert (done.code, done.stdout) == (mistake.code, ""), done
    assert mistake.advice in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert project.inside(*mistake.words, "--json").error == mistake.kind
    assert project.session().store.client.zcard(keys.TASKS) == 0


def test_a_folder_without_a_project_says_what_is_missing(project: Project) -> None:
    """Without proofq.toml nobody declares an agent; the error asks for the folder."""
    (project.root / "proofq.toml").unlink()
    done = project("enqueue", "note", *NOTE)
    assert done.code == exit_codes.USAGE
    assert "is this the project's folder" in done.stderr


def test_a_config_that_is_not_there_is_named(project: Project, tmp_path: Path) -> None:
    """PROOFQ_CONFIG names a file that must exist."""
    done = project("tasks", env={"PROOFQ_CONFIG": str(tmp_path / "gone.toml")})
    assert done.code == exit_codes.USAGE
    assert "gone.toml" in done.stderr
    assert "PROOFQ_CONFIG" in done.stderr


def test_a_redis_that_is_down_is_named(tmp_path: Path) -> None:
    """Where it should be, and what to look at."""
    done = Project(tmp_path, "redis://localhost:1/0")("status")
    assert done.code == exit_codes.REDIS
    assert "redis://localhost:1/0 is not reachable; is it running, and is the URL right?" in done.stderr


@pytest.mark.parametrize("where", ["gone", "full", "closed"])
def test_an_error_that_nobody_reads_keeps_its_exit_code(project: Project, where: str) -> None:
    """The reader has gone, the disk is full, stdout is closed: no traceback, and the code is the error's own."""
    shell = ["/bin/sh", "-c", 'exec "$@" >&-' if where == "closed" else 'exec "$@"', "sh"]
    reader, gone = os.pipe()
    os.close(reader)
    with os.fdopen(gone, "w"), Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*shell, *program(), "worker", "--slots", "0", "--json"],
            cwd=project.root, env=project.environ, stdout=full if where == "full" else gone, stderr=subprocess.PIPE,
            text=True, check=False, timeout=60,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (exit_codes.USAGE, "")
