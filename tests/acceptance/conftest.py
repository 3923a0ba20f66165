"""A project, its session, a worker's hands and the commands, for tests of the command line."""

from __future__ import annotations

import pytest

from proofq.workers.session import Session
from tests.commands import Inside, Project
from tests.workbench import Bench


@pytest.fixture
def bench(opened: Session) -> Bench:
    """A worker's hands."""
    return Bench(opened, "note", "liar")


@pytest.fixture
def inside(project: Project, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """Commands run in this process, in the project's folder and with its Redis."""
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("PROOFQ_REDIS_URL", project.environ["PROOFQ_REDIS_URL"])
    return Inside()
