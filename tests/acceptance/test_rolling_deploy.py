"""Two versions of proofq, and two of a project, side by side: nothing is lost, doubled or quarantined by it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from proofq.policies import layout
from proofq.workers import producer
from proofq.workers.known_agents import KnownAgent
from proofq.workers.producer import Request
from tests.acceptance.harness import Site, Worker, one_end, program
from tests.waiting import until

ROOT = Path(__file__).parents[2]
#: How a copy of proofq is called.
CALLED = [sys.executable, "-P", "-m", "proofq"]

SCRIPT = """
echo "$1 $3" >> "$2.ran"
sleep 0.3
echo "done $1 $3" > "$2"
"""
AGENT = """
[agents.NAME]
command = ["/bin/sh", "{project}/rolls.sh", "WORD", "{out}", "{text}"]
inputs = { out = "str", text = "str"MORE }
pass_env = ["PQ_SITE_MARK"]
timeout_s = 20
max_attempts = 3
proofs = [{ kind = "file", path = "{out}", contains = "done WORD {text}" }]
"""


def _agents(word: str, more: str) -> str:
    """The agent that both versions of the project have, and the one of its own."""
    rolls = AGENT.replace("NAME", "rolls").replace("MORE", more)
    return (rolls + AGENT.replace("NAME", f"only_{word}").replace("MORE", "")).replace("WORD", word)


def _installed(folder: Path, major: int, minor: int) -> Path:
    """A copy of proofq with another layout and release."""
    for name in ("proofq", "workers", "policies"):
        # With its bytecode, which stays valid: each process would compile the whole copy where none is written.
        shutil.copytree(ROOT / name, folder / name, symlinks=True)
    numbers = folder / "policies" / "layout.py"
    text = re.sub(r"^MAJOR: Final = \d+", f"MAJOR: Final = {major}", numbers.read_text(), flags=re.MULTILINE)
    numbers.write_text(re.sub(r"^MINOR: Final = \d+", f"MINOR: Final = {minor}", text, flags=re.MULTILINE))
    face = folder / "proofq" / "__init__.py"
    face.write_text(re.sub(r'__version__ = ".*"', '__version__ = "99.0.0"', face.read_text()))
    return folder


class Deploy:
    """A site whose project has a newer version of itself beside it, for a newer proofq."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.newer = site.root / "newer"
        self._project(site.project, "old", "")
        shutil.copytree(site.project, self.newer)
        toml = self.newer / "proofq.toml"
        toml.write_text(toml.read_text().replace(_agents("old", ""), _agents("new", ', tone = "str"')))
        self.copy = _installed(site.root / "installed", layout.MAJOR, layout.MINOR + 1)

    def _project(self, folder: Path, word: str, more: str) -> None:
        toml = folder / "proofq.toml"
        toml.write_text(toml.read_text() + _agents(word, more))
        (folder / "rolls.sh").write_text(SCRIPT)

    def old(self) -> Worker:
        return self.site.start("--slots", "3")

    def new(self) -> Worker:
        environ = {"PYTHONPATH": str(self.copy), "PROOFQ_CONFIG": str(self.newer / "proofq.toml")}
        return self.site.start("--slots", "3", environ=environ, installed=CALLED)

    def enqueue(self, agent: str, number: int, **more: str) -> str:
        inputs = {"out": self.site.out(f"{agent}-{number}"), "text": str(number), **more}
        return producer.enqueue(self.site.session, KnownAgent(agent), inputs, Request(), "test").id


@pytest.fixture
def deploy() -> Iterator[Deploy]:
    """Each test has a Redis of its own: what layout it holds is what is looked at."""
    with Site() as site:
        yield Deploy(site)


@pytest.mark.timeout(240)
def test_an_old_worker_beside_a_new_one(deploy: Deploy) -> None:
    """Workers come, are drained and killed in the middle of it: every task is verified by the declaration it fits."""
    site = deploy.site
    old, new = deploy.old(), deploy.new()
    old.wait_ready()
    new.wait_ready()
    releases = {row["release"] for row in site.owner_rows().values()}
    assert "99.0.0" in releases
    assert len(releases) == 2
    doctor = _doctor(site)
    assert "a deploy is under way" in doctor
    ids: dict[str, str] = {}
    for number in range(12):
        ids[deploy.enqueue("rolls", number)] = "old"
        ids[deploy.enqueue("rolls", 100 + number, tone="kind")] = "new"
        ids[deploy.enqueue("only_old", number)] = "old"
        ids[deploy.enqueue("only_new", number)] = "new"
        if number == 4:
            until(new.holding, 20.0, "a task in the new worker's hands")
            new.one("supervisor").signal(signal.SIGKILL)
        if number == 8:
            second = deploy.old().wait_ready()
            old.term()
    tasks = site.wait_all(list(ids), 120.0)
    assert {task.state for task in tasks.values()} == {"verified"}, _stories(site, tasks)
    assert old.wait(30.0) == 0
    deaths = 0
    for task_id, word in ids.items():
        snapshot = site.snapshot(task_id)
        assert one_end(snapshot) == []
        out = Path(snapshot.task.inputs["out"])
        assert out.read_text() == f"done {word} {snapshot.task.inputs['text']}\n"
        started = [record for record in snapshot.attempts if record.get("started_at")]
        ran = Path(f"{out}.ran").read_text().splitlines()
        assert set(ran) == {f"{word} {snapshot.task.inputs['text']}"}
        # Run again only where the worker that ran it was killed, which may be before it could write down the start.
        lost = sum(record["outcome"] == "lost" for record in snapshot.attempts)
        assert len(ran) <= 1 + lost
        assert len(started) == 1 + sum(record["outcome"] == "lost" for record in started)
        deaths += lost
        unstarted = [record for record in snapshot.attempts if not record.get("started_at")]
        assert all(record["class"] == "infrastructure" for record in unstarted if record["outcome"] == "failed")
        assert {record["outcome"] for record in unstarted} <= {"failed", "lost", "given_back"}
    assert deaths <= 3
    assert second.is_ready()


@pytest.mark.timeout(120)
def test_what_only_the_other_declares_waits(deploy: Deploy) -> None:
    """Before the new worker comes its tasks are queued, and `why` says for whom; then they are run."""
    site = deploy.site
    deploy.old().wait_ready()
    task_id = deploy.enqueue("only_new", 1)
    after = deploy.enqueue("only_old", 2)
    site.wait_for(after, "verified")
    assert site.task(task_id).state == "queued"
    done = subprocess.run(
        [*program(), "why", task_id], env=site.environ(), capture_output=True, text=True, check=True, timeout=60
    )
    assert "No live worker declares the agent" in done.stdout
    deploy.new().wait_ready()
    site.wait_for(task_id, "verified")


@pytest.mark.timeout(120)
def test_another_major_keeps_off(deploy: Deploy) -> None:
    """Beside tasks of another layout it enlists nobody and writes nothing; where none is left it begins anew."""
    site = deploy.site
    next_major = _installed(site.root / "next", layout.MAJOR + 1, 0)
    environ = site.environ() | {"PYTHONPATH": str(next_major)}
    worker = deploy.old().wait_ready()
    task_id = deploy.enqueue("only_old", 1)
    site.wait_for(task_id, "verified")
    before = site.client.dbsize()
    for words in (["worker", "--burst"], ["enqueue", "only_old", "-i", f"out={os.devnull}", "-i", "text=x"]):
        done = subprocess.run([*CALLED, *words], env=environ, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2, done.stderr
        assert f"works with layout {layout.MAJOR + 1}" in done.stderr
    doctor = subprocess.run([*CALLED, "doctor"], env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert doctor.returncode == 1
    assert f"in layout {layout.MAJOR}, begun by proofq" in doctor.stdout
    assert site.client.dbsize() == before
    worker.term()
    assert worker.wait(30.0) == 0
    site.client.flushdb()
    site.start("--slots", "1", environ={"PYTHONPATH": str(next_major)}, installed=CALLED).wait_ready()
    refused = subprocess.run(
        [*program(), "worker"], env=site.environ(), capture_output=True, text=True, timeout=60, check=False
    )
    assert refused.returncode == 2
    assert "install the newer proofq here" in refused.stderr


def _doctor(site: Site) -> str:
    done = subprocess.run(
        [*program(), "doctor"], env=site.environ(), capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout


def _stories(site: Site, tasks: object) -> str:
    assert isinstance(tasks, dict)
    return "\n".join(site.story(one) for one, task in tasks.items() if task.state != "verified")
