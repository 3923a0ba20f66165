"""The code is proofq.workers and proofq.policies, through two links, and under no other name."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from mypy.main import process_options

from tests.architecture.sources import ROOT
from tests.conftest import LOADED


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def test_the_links_are_links() -> None:
    """proofq/workers and proofq/policies are relative links, so that they survive a clone at any place."""
    assert str((ROOT / "proofq" / "workers").readlink()) == "../workers"
    assert str((ROOT / "proofq" / "policies").readlink()) == "../policies"


def test_pytest_loads_no_second_copy(request: pytest.FixtureRequest) -> None:
    """Collecting what is run, the whole suite as a rule, loads neither a top-level `workers` nor `policies`."""
    loaded = request.config.stash[LOADED]
    assert {"workers", "policies"} & loaded == set()
    assert "proofq.workers" in loaded


def test_mypy_reads_no_second_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What mypy checks are proofq (the linked folders in it), tests and benchmarks, each file once."""
    monkeypatch.chdir(ROOT)
    sources, _ = process_options([])
    names = {source.module for source in sources}
    assert {name.split(".")[0] for name in names} == {"proofq", "tests", "benchmarks"}
    assert {"proofq.workers.errors", "proofq.policies"} <= names
    files = [os.path.realpath(source.path) for source in sources if source.path]
    assert len(files) == len(set(files))


def test_importing_proofq_is_cheap() -> None:
    """`import proofq` loads neither redis nor rq nor click; they come with first use."""
    heavy = "{'redis', 'rq', 'click', 'rich', 'tenacity', 'jsonschema', 'asyncio'}"
    assert _python(f"import sys, proofq; print(sorted({heavy} & sys.modules.keys()))") == "[]"


def test_a_worker_loads_what_it_needs() -> None:
    """Its launcher nothing that moves tasks, its supervisor nothing of rq: what each start and each worker pays for."""
    lines = [
        "import sys",
        "from proofq.workers.cli import worker",
        "from proofq.workers import connection, layout_found, project, start",
        "found = {'rq', 'proofq.workers.store', 'proofq.workers.door'} & sys.modules.keys()",
        "import proofq.workers.serve",
        "found |= {'rq', 'multiprocessing', 'http.client', 'jsonschema', 'rich'} & sys.modules.keys()",
        "print(sorted(found))",
    ]
    assert _python("\n".join(lines)) == "[]"
