"""A project, its session, a worker's hands and the commands, for tests of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proofq.workers.session import Session
from tests.commands import Inside, Project
from tests.servers import PrivateServer
from tests.workbench import Bench


@pytest.fixture
def project(tmp_path: Path, redis_server: PrivateServer, redis_client: Any) -> Project:
    """A project on an empty private Redis."""
    return Project(tmp_path / "p", redis_server.url)


@pytest.fixture
def opened(project: Project) -> Iterator[Session]:
    """Its session in this process."""
    session = project.session()
    yield session
    session.store.client.close()


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
