"""claude, codex and mini, where they are found on PATH: whatever their provider does has the right end.

None is small enough to be installed for the suite: 200 to 400 MB each, or a hundred packages.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field

import pytest

from proofq.policies import lifecycle
from proofq.workers.door import Event
from tests.acceptance.provided import PROMPT, provided

#: State, class of the failure ('' = none), and how long the provider asked to wait.
End = tuple[str, str, float | None]
#: By what the provider does, in the one attempt there is; the first row is looked at first, while it still waits.
ENDS: dict[str, End] = {
    "429after90": ("deferred", "rate_limited", 90.0),
    "good": ("verified", "", None),
    "lie": ("quarantined", "unverified", None),
    "401": ("held", "auth", None),
    "503": ("failed", "overloaded", None),
    "hang": ("failed", "timeout", None),
    "cut": ("failed", "network", None),
    # By the agent's twin that says look_first: the work was done before the refusal.
    "good-then-401": ("verified", "", None),
}
#: A task that is to be tried again later (429 is not counted) rests, too.
REST = [*lifecycle.TERMINAL, lifecycle.HELD, lifecycle.DEFERRED]
_COMMON = """
inputs = { model = "str", text = "str", out = "str", sha256 = "str" }
pass_env = ["PQ_SITE_MARK"]
max_attempts = 1
proofs = [{ kind = "file", path = "{out}", sha256 = "{sha256}" }]
"""


@dataclass(frozen=True)
class Program:
    """A program: what of its declaration is its own, seconds of an attempt, ends that differ."""

    declared: str
    timeout_s: int
    ends: dict[str, End] = field(default_factory=dict)


PROGRAMS = {
    "claude": Program(
        f"""
command = [
    "{{program}}", "-p", "--output-format", "stream-json", "--verbose", "--permission-mode", "acceptEdits",
    "--allowedTools", "Write", "--", '{PROMPT}',
]
adapter = "claude"
env = {{ ANTHROPIC_API_KEY = "dummy", ANTHROPIC_BASE_URL = "PROVIDER/{{model}}" }}
""",
        timeout_s=30,
        ends={"cut": ("failed", "malformed_output", None)},
    ),
    "codex": Program(
        f"""
command = [
    "{{program}}", "exec", "--skip-git-repo-check", "--json", "-m", "any", "-c", 'model_provider="local"',
    "-c", 'approval_policy="never"', "-c", 'sandbox_mode="danger-full-access"', "-c", 'analytics.enabled=false',
    "-c", 'check_for_update_on_startup=false', "-c", 'model_providers.local.name="local"',
    "-c", 'model_providers.local.base_url="PROVIDER/{{model}}/v1"', "-c", 'model_providers.local.wire_api="responses"',
    "-c", 'model_providers.local.env_key="LOCAL_KEY"', "-c", 'model_providers.local.request_max_retries=0',
    "-c", 'model_providers.local.stream_max_retries=0', "-c", 'model_providers.local.stream_idle_timeout_ms=60000',
    '{PROMPT}',
]
adapter = "codex"
env = {{ LOCAL_KEY = "dummy" }}
""",
        timeout_s=30,
        # It does not pass the wait on: "exceeded retry limit, last status: 429 Too Many Requests".
        ends={"429after90": ("deferred", "rate_limited", None)},
    ),
    "mini": Program(
        f"""
command = [
    "{{program}}", "-m", "openai/any", "-t", '{PROMPT}', "-y", "--exit-immediately",
    "-c", "mini.yaml", "-c", "model.model_kwargs.api_base=PROVIDER/{{model}}/v1",
    "-c", "model.model_kwargs.max_retries=0",
]
adapter = "mini"

[agents.NAME.env]
OPENAI_API_KEY = "dummy"
""",
        timeout_s=90,
        # Half an answer is what its client library cannot read.
        ends={"cut": ("failed", "malformed_output", None)},
    ),
}


def _agents(name: str, path: str) -> str:
    """The program as an agent, and once more as one that looks at the world first."""
    program = PROGRAMS[name]
    declared = f"timeout_s = {program.timeout_s}{_COMMON}{program.declared.replace('{program}', path)}"
    return "\n".join(
        f"[agents.{agent}]\n{more}\n{declared.replace('NAME', agent)}"
        for agent, more in {"plain": "", "looks": "look_first = true"}.items()
    )


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", list(PROGRAMS))
def test_it_ends_as_it_must(name: str) -> None:
    """State, class and wait are right, one attempt was made, and neither a process nor a lease is left."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not on PATH")
    program = PROGRAMS[name]
    with provided(_agents(name, path), {}) as made:
        tasks = {one: made.enqueue("looks" if "-then-" in one else "plain", one) for one in ENDS}
        found = {}
        for one, task_id in tasks.items():
            task = made.site.wait_for(task_id, REST, 3.0 * program.timeout_s)
            failure = task.failure
            found[one] = (task.state, failure.kind if failure else "", failure.retry_after_s if failure else None)
            assert task.facts.attempt == 1, made.site.story(task_id)
            if task.state == lifecycle.DEFERRED:
                assert made.site.session.door.apply(task_id, Event("cancel", "test", "seen enough")).ok
        assert found == ENDS | program.ends
        made.check_nothing_left()
