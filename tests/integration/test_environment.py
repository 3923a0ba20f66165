"""The environment an agent is given: everybody's, its adapter's, its provider's key, and what its declaration adds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proofq.policies import adapters
from proofq.policies.agent import AgentSpec, Provider
from proofq.workers.expand import Expander
from proofq.workers.record import Task

WORKER = {
    "PATH": "/bin",
    "LANG": "C",
    "SECRET": "not passed on",
    "SOME_KEY": "the-key-of-a-provider",
    "OTHER_KEY": "of another one",
    "REDIS_URL": "redis://x",
    "PROOFQ_REDIS_URL": "redis://x",
    "API_TIMEOUT_MS": "5",
}
PROVIDERS = {"some": Provider("some", "SOME_KEY"), "other": Provider("other", "OTHER_KEY"), "free": Provider("free")}


TASK = Task("t1", "note", "work", "work.note", "leased", {}, 0, 10**15, 86400.0, attempt=2)


def given(tmp_path: Path, **declared: Any) -> dict[str, str]:
    """What an agent that declares this is given."""
    spec = AgentSpec("note", "command", command=("true",), **declared)
    return dict(Expander(tmp_path, tmp_path / "state", PROVIDERS, WORKER).expand(TASK, spec).env)


def test_an_agent_gets_what_is_everybodys_and_no_more(tmp_path):
    """PATH, LANG, TZ where they are set, and folders of its own; nothing else of the worker, never where Redis is."""
    mine = given(tmp_path, pass_env=("REDIS_URL", "NOT_SET"))
    taskdir = tmp_path / "state/tasks/t1"
    assert mine == {
        "PATH": "/bin",
        "LANG": "C",
        "HOME": str(taskdir / "home"),
        "TMPDIR": str(taskdir / "tmp"),
        "PROOFQ_TASK_ID": "t1",
        "PROOFQ_ATTEMPT": "2",
    }


@pytest.mark.parametrize(
    ("provider", "keys"),
    [("some", {"SOME_KEY"}), ("other", {"OTHER_KEY"}), ("free", set()), (None, set()), ("undeclared", set())],
)
def test_the_key_of_its_provider_and_of_no_other(tmp_path, provider, keys):
    """`provider` brings the variable that `key_env` names, with the worker's value."""
    mine = given(tmp_path, provider=provider)
    assert {name for name in mine if name.endswith("_KEY")} == keys
    assert all(mine[name] == WORKER[name] for name in keys)


def test_an_adapter_turns_its_program_down(tmp_path):
    """claude gets its adapter's variables; what the declaration sets or passes on wins."""
    assert adapters.of("claude").env.items() <= given(tmp_path, adapter="claude").items()
    assert not adapters.of("claude").env.keys() & given(tmp_path).keys()
    declared = given(tmp_path, adapter="claude", pass_env=("API_TIMEOUT_MS",), env={"CLAUDE_CODE_MAX_RETRIES": "7"})
    assert (declared["API_TIMEOUT_MS"], declared["CLAUDE_CODE_MAX_RETRIES"]) == ("5", "7")
    assert declared["DISABLE_TELEMETRY"] == "1"


def test_who_proves_an_attempt_sees_what_is_performed(tmp_path):
    """One expansion for as long as somebody holds it, of this attempt alone; nothing is kept after it."""
    expander = Expander(tmp_path, tmp_path / "state", PROVIDERS, WORKER)
    spec = AgentSpec("note", "command", command=("true",))
    held = expander.expand(TASK, spec, "no JSON")
    assert expander.expand(TASK, spec) is held
    assert expander.expand(replace(TASK, attempt=3), spec) is not held
    del held
    assert "PROOFQ_REPAIR" not in expander.expand(TASK, spec).env
