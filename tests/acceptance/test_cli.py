"""The command line as such: help, exit codes, errors, and what is refused."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from proofq.policies import lifecycle
from proofq.workers import errors
from proofq.workers.cli import exit_codes, notbuilt
from proofq.workers.cli.main import cli
from tests.commands import Project
from tests.servers import PrivateServer

#: Every command of the contract; a group's subcommands with it.
CONTRACT = [
    "enqueue", "run", "worker", "show", "why", "logs", "tasks", "status", "agents", "workers", "drain", "pause",
    "resume", "cancel", "replay", "gate", "incident", "registry", "session", "handoff", "approval", "schedule",
    "audit", "doctor", "canary", "scheduler", "web", "reconcile", "purge", "redis", "demo", "chaos",
]  # fmt: skip
#: Names that came to it since.
ADDED = ["effect", "spend"]
HEAVY = ("redis", "rq", "rich", "jsonschema", "tenacity", "sqlite3", "asyncio")


@pytest.fixture
def nowhere(tmp_path: Path) -> Project:
    """A project whose Redis does not answer."""
    return Project(tmp_path / "n", f"unix://{tmp_path}/nobody")


# --- help ----------------------------------------------------------------------------------------------------------


def test_every_command_of_the_contract_is_there() -> None:
    """Built or refused, every name of the contract is a command, and no other is but those that were added."""
    assert sorted(cli.commands) == sorted(CONTRACT + ADDED)


def _commands() -> Iterator[tuple[str, click.Command]]:
    for name, command in cli.commands.items():
        if name not in notbuilt.COMMANDS:
            yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", each) for inner, each in command.commands.items())


@pytest.mark.parametrize("name", [name for name, _ in _commands()])
def test_help_has_examples_that_can_be_read(project: Project, name: str) -> None:
    """Each command's help ends with examples, and each of them is a command line that the command accepts."""
    done = project.inside(*name.split(), "--help")
    examples = re.findall(r"^ +\$ (.*)$", done.stdout, re.MULTILINE)
    assert done.code == 0
    assert "--json" in done.stdout
    assert "Exit codes: " in done.stdout or isinstance(cli.commands[name.split()[0]], click.Group)
    assert examples
    own = [line for line in examples if "proofq " in line]
    for line in own:
        words = shlex.split(re.sub(r'"\$\((.*)\)"', r"\1", line).partition(" | ")[0], comments=True)
        words = words[words.index("proofq") + 1 :]
        words = words[: words.index("ping")] if "ping" in words else words
        context = cli.make_context("proofq", list(words), obj=None)
        inner_name, inner, rest = cli.resolve_command(context, [*context._protected_args, *context.args])
        assert inner is not None
        inner.make_context(inner_name, rest, parent=context)


def test_help_says_the_exit_codes(project: Project) -> None:
    """`proofq --help` lists every exit code with its meaning."""
    done = project("--help")
    assert done.code == 0
    for code, meaning in exit_codes.MEANINGS.items():
        assert f"  {code}  {meaning}" in done.stdout


def test_exit_codes_are_those_of_the_contract() -> None:
    """The numbers scripts rely on."""
    assert {state: exit_codes.OF_STATE[state] for state in lifecycle.TERMINAL} == {
        "verified": 0,
        "finished_unproven": 8,
        "failed": 3,
        "quarantined": 4,
        "cancelled": 5,
        "expired": 5,
    }
    assert (exit_codes.ERROR, exit_codes.USAGE, exit_codes.TIMEOUT, exit_codes.REDIS) == (1, 2, 6, 7)
    known = {exit_codes.ERROR, exit_codes.USAGE, exit_codes.REDIS}
    found = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.Error)]
    assert {each.exit_code for each in found} == known


def test_help_answers_at_once() -> None:
    """`proofq --help` loads nothing that takes long to load."""
    code = (
        "import sys\n"
        "from proofq.workers.cli.main import execute\n"
        "execute(['--help'], sys.stdout, sys.stderr)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_enqueue_does_not_load_what_it_does_not_need(project: Project) -> None:
    """Tables are for people who look at them: enqueue does not load rich."""
    words = ["enqueue", "note", "-i", "text=hi", "-i", "out=a"]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "proofq", *words],
        cwd=project.root, env=project.environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not re.search(r"\| +rich\b", done.stderr)


def test_version(project: Project) -> None:
    """`--version` says the package's version."""
    import proofq

    assert project.inside("--version").stdout == f"proofq {proofq.__version__}\n"


# --- errors --------------------------------------------------------------------------------------------------------

USAGE = [
    ["nothing"],
    ["show"],
    ["show", "a", "b"],
    ["tasks", "--state", "asleep"],
    ["tasks", "--class", "bad_luck"],
    ["tasks", "--limit", "-1"],
    ["tasks", "--limit", "many"],
    ["worker", "--slots", "many"],
    ["worker", "--lane", "fast"],
    ["run", "note", "--timeout", "-1"],
    ["enqueue"],
    ["enqueue", "note", "--nonsense"],
    ["cancel"],
    ["replay"],
    ["redis", "nothing"],
]


@pytest.mark.parametrize("words", USAGE, ids=" ".join)
def test_a_wrong_command_line_is_usage(nowhere: Project, words: list[str]) -> None:
    """Exit 2 and one document of kind usage, before anything is asked of Redis."""
    done = nowhere.inside(*words, "--json")
    assert (done.code, done.error) == (exit_codes.USAGE, "usage")


def test_no_command_at_all_shows_the_help(nowhere: Project) -> None:
    """`proofq` alone is usage: the help goes to stderr."""
    done = nowhere()
    assert (done.code, done.stdout) == (exit_codes.USAGE, "")
    assert "Commands:" in done.stderr


def test_a_near_miss_is_suggested(nowhere: Project) -> None:
    """A mistyped command names the one that was meant."""
    assert "Did you mean show?" in nowhere.inside("shwo").stderr


def test_for_people_errors_go_to_stderr(nowhere: Project) -> None:
    """Without --json stdout stays empty, and stderr says one sentence."""
    done = nowhere("show", "x")
    assert (done.code, done.stdout) == (exit_codes.REDIS, "")
    assert done.stderr.startswith("proofq: Redis at ")
    assert len(done.stderr.splitlines()) == 1


REDIS_COMMANDS = [
    ["enqueue", "note", "-i", "text=a", "-i", "out=b"],
    ["run", "note", "-i", "text=a", "-i", "out=b"],
    ["worker"],
    ["show", "x"],
    ["why", "x"],
    ["tasks"],
    ["cancel", "x"],
    ["replay", "x"],
    ["audit"],
]


@pytest.mark.parametrize("words", REDIS_COMMANDS, ids=lambda words: words[0])
def test_a_redis_that_does_not_answer_is_7(nowhere: Project, words: list[str]) -> None:
    """Every command that needs Redis ends with 7 and one document, and starts no store of its own."""
    done = nowhere.inside(*words, "--json")
    assert (done.code, done.error) == (exit_codes.REDIS, "redis_unavailable")
    assert not (nowhere.root / ".proofq").exists()


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    """An URL in an error has lost its password."""
    project = Project(tmp_path, "redis://user:secret-word@localhost:1/0")
    for words in (["tasks"], ["tasks", "--json"], ["doctor", "--json"]):
        done = project.inside(*words)
        assert "secret-word" not in done.stdout + done.stderr


def test_a_refused_declaration_is_2(tmp_path: Path, redis_server: PrivateServer) -> None:
    """A proofq.toml that cannot stand is told with file and line by what needs it; looking and acting go on."""
    project = Project(tmp_path / "b", redis_server.url, '[agents.a]\ncommand = ["true"]\n')
    for words in (["enqueue", "a"], ["run", "a"], ["worker"]):
        done = project.inside(*words, "--json")
        assert (done.code, done.error) == (exit_codes.USAGE, "declaration")
        assert "proofq.toml:1" in done.document["error"]["message"]
    assert project.inside("tasks", "--json").code == exit_codes.OK
    assert project.inside("cancel", "nobody", "--json").error == "unknown_task"


def test_a_bad_setting_is_2(project: Project) -> None:
    """A bad option or variable of the worker is bad input."""
    assert project.inside("worker", "--slots", "0", "--json").error == "bad_input"
    done = project("worker", "--json", env={"PROOFQ_DRAIN_S": "soon"})
    assert (done.code, done.error) == (exit_codes.USAGE, "bad_input")


# --- what is not built ---------------------------------------------------------------------------------------------

NOT_BUILT = [
    *([name] for name in notbuilt.COMMANDS),
    ["schedule", "list"],
    ["approval", "approve", "x"],
    ["registry", "prune"],
    ["canary", "note", "--", "python", "-m", "x"],
    ["demo", "another"],
]


@pytest.mark.parametrize("words", NOT_BUILT, ids=" ".join)
def test_what_is_not_built_is_refused(project: Project, words: list[str]) -> None:
    """Exit 2, kind not_built, one sentence; nothing is silently left out."""
    at = words.index("--") if "--" in words else len(words)
    done = project.inside(*words[:at], "--json", *words[at:])
    assert (done.code, done.error) == (exit_codes.USAGE, "not_built")
    assert project.session().store.newest(0, 1) == []
