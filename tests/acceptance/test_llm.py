"""`llm`, a program from the package index, as a command agent: whatever its provider does has the right end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.provided import PROMPT, Provided, provided

pytestmark = [pytest.mark.xdist_group("llm"), pytest.mark.timeout(240)]

PROGRAM = Path(sys.executable).with_name("llm")
#: Requests of one run against errors that it thinks worth repeating: it has no knob for that.
TRIES = 3
#: Seconds of a run, and of one that is known to hang: it starts a Python with many libraries, on a busy machine too.
TIMEOUT_S, HURRIED_S = 60, 20
#: Seconds until a task of this file must have ended.
WITHIN_S = 200.0


@dataclass(frozen=True)
class End:
    """How a task must end: state, class of its failure ('' = none), attempts begun, and calls of the provider."""

    state: str
    kind: str = ""
    attempts: int = 1
    calls: int = 1


#: By what the provider does; max_attempts is 2.
ENDS = {
    "good": End("verified", calls=2),
    # Exit 0, and not a word of it true: it says so; half a sentence; a login page that it prints as nothing.
    "lie": End("quarantined", "unverified", attempts=2, calls=2),
    "cut": End("quarantined", "unverified", attempts=2, calls=2),
    "html": End("quarantined", "unverified", attempts=2, calls=2),
    "hang": End("failed", "timeout"),
    "stall": End("failed", "timeout"),
    "drip": End("failed", "timeout"),
    # Told apart by what it printed, since it exits with 1 for each of them.
    "401": End("held", "auth"),
    "403": End("failed", "content_refused"),
    "context": End("failed", "context_overflow"),
    "quota": End("held", "quota", calls=TRIES),
    "429after7200": End("held", "rate_limited"),
    "503": End("failed", "overloaded", attempts=2, calls=2 * TRIES),
    "503x3-then-good": End("verified", attempts=2, calls=TRIES + 2),
    "529x3-then-good": End("verified", attempts=2, calls=TRIES + 2),
    "reset": End("failed", "network", attempts=2, calls=2),
    "429x3-then-good": End("verified", attempts=2, calls=TRIES + 2),
    "429after2x3-then-good": End("verified", attempts=2, calls=TRIES + 2),
    "good-then-401": End("held", "auth", calls=2),
}
#: Seconds that a provider asks to wait, by behaviour.
LIMITED = {"429after2x3-then-good": 2.0, "429x3-then-good": 0.0}
#: The same program, declared with look_first: its proofs decide although it fails.
LOOKING = {
    "good-then-401@looks": End("verified", calls=2),
    "good-then-503@looks": End("verified", calls=1 + TRIES),
    "401@looks": End("held", "auth"),
}

#: Those of `make test`; each run of the program costs seconds of CPU. `make test-llm` runs all.
CHOICE = frozenset({
    "good", "lie", "cut", "hang", "401", "quota", "503", "429after2x3-then-good", "good-then-401",
    "good-then-401@looks",
})  # fmt: skip

# A database for each attempt: two runs at once that migrate one database break each other, even without logging (-n).
AGENTS = f"""
[agents.llm]
command = [
    "{PROGRAM}", "-m", "{{model}}", "--key", "dummy", "--functions", "{{project}}/tools.py",
    "-d", "{{workdir}}/logs.db", '{PROMPT}',
]
inputs = {{ model = "str", text = "str", out = "str", sha256 = "str" }}
env = {{ LLM_USER_PATH = "{{project}}/llm" }}
pass_env = ["PQ_SITE_MARK"]
timeout_s = {TIMEOUT_S}
max_attempts = 2
proofs = [{{ kind = "file", path = "{{out}}", sha256 = "{{sha256}}" }}]
"""
TOOLS = '''
from pathlib import Path


def write_file(path: str, text: str) -> str:
    """Write a text to a file."""
    Path(path).write_text(text + "\\n")
    return "written"
'''


def _models() -> str:
    lines = '- model_id: "{0}"\n  model_name: "{0}"\n  api_base: PROVIDER/v1\n  supports_tools: true\n'
    return "".join(lines.format(name) for name in [*ENDS, *LOOKING])


@pytest.fixture(scope="module")
def made() -> Iterator[Provided]:
    """A worker that serves llm, with its provider; every task of this file is enqueued at once."""
    looks = AGENTS.replace("[agents.llm]", "[agents.llm_looks]\nlook_first = true")
    hurried = AGENTS.replace("[agents.llm]", "[agents.llm_hurried]").replace(f"{TIMEOUT_S}", f"{HURRIED_S}")
    files = {"llm/extra-openai-models.yaml": _models(), "tools.py": TOOLS}
    with provided(AGENTS + looks + hurried, files) as site:
        yield site


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A choice of behaviours, or every one."""
    if "behaviour" in metafunc.fixturenames:
        metafunc.parametrize("behaviour", [name for name in [*ENDS, *LOOKING] if _runs(metafunc.config, name)])
    if "limited" in metafunc.fixturenames:
        metafunc.parametrize(
            ("limited", "wait_s"), [each for each in LIMITED.items() if _runs(metafunc.config, each[0])]
        )


def _runs(config: pytest.Config, behaviour: str) -> bool:
    return behaviour in CHOICE or bool(config.getoption("--every"))


@pytest.fixture(scope="module")
def tasks(made: Provided, pytestconfig: pytest.Config) -> dict[str, str]:
    """By behaviour, the id of its task. Those that take longest first."""
    hurried = [name for name, end in ENDS.items() if end.kind == "timeout"]
    others = [name for name in ENDS if name not in hurried]
    agents = dict.fromkeys(hurried, "llm_hurried") | dict.fromkeys(others, "llm") | dict.fromkeys(LOOKING, "llm_looks")
    return {name: made.enqueue(agent, name) for name, agent in agents.items() if _runs(pytestconfig, name)}


def test_it_ends_as_it_must(made: Provided, tasks: dict[str, str], behaviour: str) -> None:
    """State, class and attempts are right, the provider was asked no oftener than that takes, and nothing is held."""
    end = {**ENDS, **LOOKING}[behaviour]
    task = made.ended(tasks[behaviour], WITHIN_S)
    found = End(
        task.state,
        "" if task.failure is None else task.failure.kind,
        task.facts.attempt,
        made.provider.calls()[behaviour],
    )
    assert found == end, made.site.story(task.id)
    made.check_end(task.id)


def test_a_rate_limit_waits_as_long_as_was_said(
    made: Provided, tasks: dict[str, str], limited: str, wait_s: float
) -> None:
    """The first attempt is not counted, and the second does not begin before the time that the provider named."""
    made.ended(tasks[limited], WITHIN_S)
    first, good = made.site.snapshot(tasks[limited]).attempts
    assert (first["class"], first["counted"]) == ("rate_limited", False)
    assert good["started_at"] - first["ended_at"] >= 1000 * wait_s


def test_nothing_is_left(made: Provided, tasks: dict[str, str]) -> None:
    """When all have ended, no lease and no process of an agent is left."""
    for task_id in tasks.values():
        made.ended(task_id, WITHIN_S)
    made.check_nothing_left()
