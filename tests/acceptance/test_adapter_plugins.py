"""Somebody else's adapter, by an entry point: it reads a real command; a broken one is refused, and harms no worker."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from proofq.policies.adapters import Adapter
from proofq.policies.ended import Claim, Ending
from proofq.workers import adapter_plugins
from tests.acceptance.harness import Site, one_end, program

MODULE = """
import json

from proofq.policies.adapters import Adapter
from proofq.policies.adapters.provider_errors import failure
from proofq.policies.ended import Claim


def outcome(ending, document):
    last = ending.stdout_end.splitlines()[-1] if ending.stdout_end else b""
    if last == b"raise":
        raise KeyError("it has no word for that")
    if last == b"nonsense":
        return {"done": True}
    if last.startswith(b"refused "):
        return failure(int(last.split()[1]), "", "as the program tells")
    return Claim({"said": last.decode()})


def live(line):
    if line == b"live: raise please":
        raise ValueError("no such line")
    return failure(429, "", "slow down", 600.0) if line == b"live: told to wait long" else None


TALKER = Adapter("talker", outcome, (".talker/*.log",), {"TALKER_RETRIES": "0"}, live, reads_stdout=True)
OTHER = Adapter("another name", outcome)
OUTSIDE = Adapter("outside", outcome, ("../../*",))
NO_ADAPTER = {"name": "no_adapter"}
"""
ENTRIES = """[proofq.adapters]
talker = talker_adapter:TALKER
misnamed = talker_adapter:OTHER
outside = talker_adapter:OUTSIDE
no_adapter = talker_adapter:NO_ADAPTER
missing = talker_adapter:NOT_THERE
dies = talker_dies
claude = talker_adapter:TALKER
"""
SCRIPT = """
echo "retries $TALKER_RETRIES"
echo "done" > "$2"
case "$1" in
    waits) echo "live: told to wait long"; sleep 60 ;;
    deaf) echo "live: raise please"; sleep 0.2; echo fine ;;
    *) echo "$1" ;;
esac
"""
AGENT = f"""
[agents.talks]
command = ["/bin/sh", "{{project}}/talks.sh", "{{how}}", "{{out}}"]
adapter = "ADAPTER"
inputs = {{ how = "str", out = "str" }}
pass_env = ["PQ_SITE_MARK"]
timeout_s = 20
max_attempts = 1
proofs = [{{ kind = "file", path = "{{out}}", sha256 = "{hashlib.sha256(b"done" + bytes([10])).hexdigest()}" }}]
"""


def _install(folder: Path) -> Path:
    """A distribution as pip leaves it: two modules, and what is known of them."""
    info = folder / "talker_adapter-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "talker_adapter.py").write_text(MODULE)
    (folder / "talker_dies.py").write_text("import sys\nprint('loud')\nsys.exit(9)\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: talker-adapter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    return folder


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with the distribution installed, and a worker whose agent uses it."""
    with Site() as made:
        packages = _install(made.root / "packages")
        toml = made.project / "proofq.toml"
        toml.write_text(toml.read_text() + AGENT.replace("ADAPTER", "talker"))
        (made.project / "talks.sh").write_text(SCRIPT)
        made.start(environ={"PYTHONPATH": str(packages)}).wait_ready()
        yield made


@pytest.mark.parametrize(
    ("how", "state", "kind", "said"),
    [
        ("fine", "verified", None, "fine"),
        ("deaf", "verified", None, "fine"),
        ("refused 401", "held", "auth", "as the program tells"),
        ("waits", "deferred", "rate_limited", "it would have slept for 600 s"),
        ("raise", "quarantined", "policy_error", "the adapter talker raised KeyError: 'it has no word for that'"),
        ("nonsense", "quarantined", "policy_error", "which is no Claim and no Failure"),
    ],
)
def test_it_reads_a_real_command(site: Site, how: str, state: str, kind: str | None, said: str) -> None:
    """It claims, classifies, and is heard live; what it raises is one attempt's failure, and the worker goes on."""
    task_id = site.enqueue("talks", how=how, out=site.out(how.replace(" ", "-")))
    task = site.wait_for(task_id, state, 30.0)
    assert (task.failure and task.failure.kind) == kind, site.story(task_id)
    assert said in (task.failure.reason if task.failure else task.claim["said"])
    if state != "deferred":
        assert state == "held" or one_end(site.snapshot(task_id)) == []
    [output] = [path for path in site.project.rglob("stdout") if task_id in path.parts]
    assert output.read_text().startswith("retries 0\n")
    assert all(worker.is_ready() for worker in site.workers)


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        ("talkr", "did you mean talker?"),
        ("talkr", "install it into the environment of proofq (docs/adapters.md)"),
        ("misnamed", "it calls itself 'another name'"),
        ("outside", "without .."),
        ("no_adapter", "not a proofq.policies.adapters.Adapter"),
        ("missing", "loading it failed: AttributeError"),
        ("dies", "of talker_dies (talker-adapter 1.0) cannot be used: loading it failed: SystemExit: 9"),
    ],
)
def test_a_declaration_with_a_broken_one_is_refused(site: Site, tmp_path: Path, adapter: str, said: str) -> None:
    """With file and line, before anything runs; exit code 2, and one document on stdout."""
    toml = tmp_path / "proofq.toml"
    toml.write_text(AGENT.replace("ADAPTER", adapter))
    environ = site.environ() | {"PYTHONPATH": str(site.root / "packages"), "PROOFQ_CONFIG": str(toml)}
    for command in (["worker", "--burst"], ["enqueue", "talks", "-i", "how=x", "-i", "out=y"]):
        line = [*program(), *command, "--json"]
        done = subprocess.run(line, env=environ, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2, done.stderr
        message = json.loads(done.stdout)["error"]["message"]
        assert message.startswith("proofq.toml:4: agent talks: adapter")
        assert said in message


def test_ours_keep_their_names(site: Site) -> None:
    """A package that brings an adapter called like one of ours does not replace it."""
    code = "from proofq.workers.adapter_plugins import make_known; from proofq.policies import adapters\n"
    code += "make_known('claude'); assert adapters.of('claude') is adapters.claude.CLAUDE"
    words = [program()[0].replace("proofq", "python"), "-c", code]
    subprocess.run(words, env={"PYTHONPATH": str(site.root / "packages")}, check=True, timeout=60)


def test_a_claim_that_is_no_json_is_refused() -> None:
    """What cannot be kept is the adapter's error, named."""
    odd = adapter_plugins.guarded(Adapter("odd", lambda _ending, _document: Claim({1, 2})))
    found = odd.outcome(Ending(0, None), False)
    assert "its claim is no JSON" in getattr(found, "reason", "")
