"""`claude`, where it is installed, as a command agent: whatever its provider does has the right end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.acceptance.provided import PROMPT, Provided, provided

PROGRAM = shutil.which("claude")
pytestmark = [
    pytest.mark.xdist_group("claude"),
    pytest.mark.skipif(PROGRAM is None, reason="no claude on PATH: npm install @anthropic-ai/claude-code"),
]

TIMEOUT_S = 25


@dataclass(frozen=True)
class End:
    """How a task must end: state, class of its failure ('' = none), attempts begun, and calls of the provider."""

    state: str
    kind: str = ""
    attempts: int = 1
    calls: int = 2


#: By what the provider does; max_attempts is 2, and the adapter lets the program try twice.
ENDS = {
    "good": End("verified"),
    "lie": End("quarantined", "unverified", attempts=2),
    "cut": End("failed", "malformed_output", attempts=2, calls=4),
    "html": End("failed", "malformed_output", attempts=2, calls=4),
    "hang": End("failed", "timeout", calls=1),
    "401": End("held", "auth"),
    "403": End("failed", "content_refused", calls=1),
    "quota": End("held", "quota"),
    "context": End("failed", "context_overflow", calls=1),
    "503x2-then-good": End("verified", attempts=2, calls=4),
    "529x2-then-good": End("verified", attempts=2, calls=4),
    "429x2-then-good": End("verified", attempts=2, calls=4),
    "429after2x2-then-good": End("verified", attempts=2, calls=4),
    "429after90-then-good": End("verified", attempts=2, calls=3),
}
#: The same program, declared otherwise: by agent and behaviour.
OTHERWISE = {
    ("claude_looks", "good-then-401"): End("verified", calls=3),
    ("claude_denied", "good@denied"): End("failed", "bad_input"),
    ("claude_stalls", "stall"): End("failed", "stalled", calls=1),
    # Ten retries of its own: ended at the second refusal, and at the fifth failure in a row.
    ("claude_eager", "401@eager"): End("held", "auth"),
    ("claude_eager", "503@eager"): End("failed", "overloaded", attempts=2, calls=10),
}

AGENT = f"""
[agents.claude]
command = [
    "{PROGRAM}", "-p", "--output-format", "stream-json", "--verbose", "--allowedTools", "Write", "--", '{PROMPT}',
]
adapter = "claude"
inputs = {{ model = "str", text = "str", out = "str", sha256 = "str" }}
env = {{ ANTHROPIC_BASE_URL = "PROVIDER/{{model}}", ANTHROPIC_API_KEY = "dummy" }}
pass_env = ["PQ_SITE_MARK"]
timeout_s = {TIMEOUT_S}
max_attempts = 2
proofs = [{{ kind = "file", path = "{{out}}", sha256 = "{{sha256}}" }}]
"""
EAGER = 'CLAUDE_CODE_MAX_RETRIES = "10"'
AGENTS = "".join(
    [
        AGENT,
        AGENT.replace("agents.claude]", "agents.claude_looks]\nlook_first = true"),
        AGENT.replace("agents.claude]", "agents.claude_denied]").replace('"--allowedTools", "Write", ', ""),
        AGENT.replace("agents.claude]", "agents.claude_stalls]\nstall_after_s = 8"),
        AGENT.replace("agents.claude]", "agents.claude_eager]").replace("env = {", f"env = {{ {EAGER},"),
    ]
)


@pytest.fixture(scope="module")
def made() -> Iterator[Provided]:
    """A worker that serves claude, with its provider; every task of this file is enqueued at once."""
    with provided(AGENTS, {}) as site:
        yield site


@pytest.fixture(scope="module")
def tasks(made: Provided) -> dict[tuple[str, str], str]:
    """By agent and behaviour, the id of its task. Those that take longest first."""
    slow = sorted(ENDS, key=lambda name: ENDS[name].kind != "timeout")
    return {key: made.enqueue(*key) for key in [("claude", name) for name in slow] + list(OTHERWISE)}


@pytest.mark.parametrize(("agent", "behaviour"), [*[("claude", name) for name in ENDS], *OTHERWISE])
def test_it_ends_as_it_must(made: Provided, tasks: dict[tuple[str, str], str], agent: str, behaviour: str) -> None:
    """State, class and attempts are right, the provider was asked no oftener than that takes, and nothing is held."""
    end = ENDS[behaviour] if agent == "claude" else OTHERWISE[agent, behaviour]
    task = made.ended(tasks[agent, behaviour], 110.0)
    kind = "" if task.failure is None else task.failure.kind
    found = End(task.state, kind, task.facts.attempt, made.provider.calls()[behaviour])
    assert found == end, made.site.story(task.id)
    made.check_end(task.id)


def test_nothing_is_left(made: Provided, tasks: dict[tuple[str, str], str]) -> None:
    """When all have ended, no lease and no process of an agent is left."""
    for task_id in tasks.values():
        made.ended(task_id, 110.0)
    made.check_nothing_left()
