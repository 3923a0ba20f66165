"""The container files, read: no engine runs here, so these tests hold what can be seen without one."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml

from proofq.workers.cli.main import cli
from tests.architecture.sources import ROOT
from tests.servers import PrivateServer

DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LOCK = (ROOT / "requirements.lock").read_text()
RUNTIME_LOCK = (ROOT / "deploy" / "requirements.lock").read_text()
#: An exact version (a number in each place) and a digest.
PINNED = re.compile(r"[a-z/]+:\d+\.\d+\.\d+[\w.-]*@sha256:[0-9a-f]{64}")
#: Of the Compose Specification: what a service of ours may say.
SERVICE_KEYS = {
    "build", "cap_drop", "command", "depends_on", "entrypoint", "environment", "healthcheck", "image", "ports",
    "restart", "security_opt", "stop_grace_period", "user", "volumes",
}  # fmt: skip
HEALTH_KEYS = {"test", "interval", "timeout", "retries", "start_period"}


def _instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their words, continued lines joined."""
    lines = re.sub(r"\\\n\s*", "", DOCKERFILE).splitlines()
    pairs = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    return [(name, words) for name, words in pairs]


def _last(name: str) -> str:
    return [words for each, words in _instructions() if each == name][-1]


# --- the image -----------------------------------------------------------------------------------------------------


def test_every_stage_begins_with_a_pinned_image() -> None:
    """A version and a digest, no moving tag."""
    arguments = dict(words.split("=", 1) for name, words in _instructions() if name == "ARG")
    bases = [words.split()[0] for name, words in _instructions() if name == "FROM"]
    assert len(bases) == 2
    for base in bases:
        assert PINNED.fullmatch(re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], base))


def test_the_image_installs_what_is_locked_and_nothing_else() -> None:
    """Every pip that fetches asks for hashes; the wheel of ours brings no dependencies."""
    words = " ; ".join(words for name, words in _instructions() if name == "RUN")
    installs = re.findall(r"pip install ([^&;]*)", words)
    assert installs
    for install in installs:
        assert "--require-hashes -r " in install or install.strip() == "--no-deps dist/*.whl"
    for name in re.findall(r"-r (\S+)", words):
        assert (ROOT / name).is_file()


def test_the_image_runs_as_nobody_special() -> None:
    """Not root, in a state directory of its own, told to end by the signal that drains."""
    assert _last("USER") == "proofq"
    after = DOCKERFILE.partition("\nUSER ")[2]
    assert "RUN" not in after
    assert _last("STOPSIGNAL") == "SIGTERM"
    assert "-o proofq" in DOCKERFILE
    assert "PROOFQ_STATE_DIR=/state" in DOCKERFILE


def test_the_image_starts_a_program_that_is_there() -> None:
    """ENTRYPOINT and CMD are lists (no shell stands between TERM and the launcher) and name our command."""
    [entry] = yaml.safe_load(_last("ENTRYPOINT"))
    [command] = yaml.safe_load(_last("CMD"))
    assert entry in {each.name for each in entry_points(group="console_scripts") if each.value.startswith("proofq.")}
    assert command in cli.commands


def test_what_is_copied_is_let_through() -> None:
    """.dockerignore shuts everything out but what the wheel is built from: no secret gets into a layer."""
    rules = (ROOT / ".dockerignore").read_text().split("\n")
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert "*" in rules
    assert all((ROOT / name).exists() for name in allowed)
    backend = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"proofq", "workers", "policies", "pyproject.toml", backend["readme"], *backend["license-files"]} <= allowed
    assert not {".env", ".git", ".proofq"} & allowed


def test_the_lock_of_the_image_is_part_of_the_lock() -> None:
    """Each pin of deploy/requirements.lock is one of requirements.lock, hashes included; no tool of ours is in it."""
    pins = re.compile(r"^([a-z][^\\\n]*?) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)
    whole = {text.split(" ;")[0]: set(re.findall(r"sha256:\w+", hashes)) for text, hashes in pins.findall(LOCK)}
    part = {text.split(" ;")[0]: set(re.findall(r"sha256:\w+", hashes)) for text, hashes in pins.findall(RUNTIME_LOCK)}
    assert {name: hashes for name, hashes in part.items() if whole.get(name) != hashes} == {}
    names = {text.split("==")[0] for text in part}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["web"]]
    assert {re.split(r"[=<>;]", text)[0] for text in declared} <= names
    assert not {"pytest", "mypy", "hatchling"} & names


# --- the services --------------------------------------------------------------------------------------------------


def test_the_services_are_those_that_belong_here() -> None:
    """Redis, workers, a dashboard, in words of the Compose Specification."""
    assert SERVICES.keys() == {"redis", "worker", "dashboard"}
    assert COMPOSE.keys() - {"x-proofq"} == {"name", "services", "volumes"}
    for service in SERVICES.values():
        assert service.keys() <= SERVICE_KEYS
        assert service.get("healthcheck", {}).keys() <= HEALTH_KEYS


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned_or_ours(name: str) -> None:
    """Foreign images by version and digest; ours is built from the Dockerfile beside it."""
    service = SERVICES[name]
    if "build" in service:
        assert (ROOT / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        assert service["image"] == "proofq:local"
    else:
        assert PINNED.fullmatch(service["image"])
    assert "latest" not in service["image"]


def test_ports_are_open_on_loopback_alone() -> None:
    """The dashboard on 127.0.0.1; Redis and workers on none."""
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {
        "dashboard": ["127.0.0.1:9181:9181"]
    }


def test_nothing_starts_without_a_password() -> None:
    """Every use of the password insists on it, and none is written down."""
    text = (ROOT / "docker-compose.yml").read_text()
    uses = re.findall(r"\$\{PROOFQ_PASSWORD([^}]*)\}", text)
    assert len(uses) == len(SERVICES)
    assert all(use.startswith(":?") for use in uses)
    for name in ("PROOFQ_REDIS_URL", "RQ_DASHBOARD_REDIS_URL"):
        [url] = [service["environment"][name] for service in SERVICES.values() if name in service["environment"]]
        assert re.fullmatch(r"redis://:\$\{PROOFQ_PASSWORD:\?[^}]+\}@redis:6379/0", url)


def test_what_must_last_is_on_volumes() -> None:
    """The append-only file and the state directory; each named volume is declared."""
    mounts = {name: dict(each.rsplit(":", 1) for each in SERVICES[name]["volumes"]) for name in ("redis", "worker")}
    assert mounts["redis"] == {"redis": "/data"}
    assert mounts["worker"]["state"] == "/state"
    assert COMPOSE["volumes"].keys() == {"redis", "state"}


def test_workers_can_be_scaled_and_drained() -> None:
    """No fixed name or port stands in the way of a second one, and a drain (30 s) has its time before KILL."""
    worker = SERVICES["worker"]
    assert not {"container_name", "ports", "hostname"} & worker.keys()
    assert int(worker["stop_grace_period"].removesuffix("s")) >= 30 + 15
    assert worker["depends_on"]["redis"]["condition"] == "service_healthy"
    assert worker["command"][0] in cli.commands


def test_nothing_runs_with_more_rights_than_it_needs() -> None:
    """No capability, no way to gain any, and no root."""
    for service in SERVICES.values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service
    assert SERVICES["redis"]["user"] == "redis"


def test_the_redis_of_the_services_is_safe(tmp_path: Path, redis_binary: str) -> None:
    """Its command line, run here on a socket: a password is asked for, it appends, and refuses rather than drops."""
    [shell, option, script] = SERVICES["redis"]["command"]
    assert [shell, option] == ["sh", "-c"]
    with PrivateServer(redis_binary, tmp_path / "d") as other:
        place = Path(other.socket).with_name("c")
    place.parent.mkdir(parents=True, exist_ok=True)
    script = script.replace("$$", "$").replace("dir /data", f"dir {tmp_path}\nport 0\nunixsocket {place}")
    script = script.replace("redis-server", shlex.quote(redis_binary), 1)
    process = subprocess.Popen(
        ["sh", "-c", script], env={"PATH": "/usr/bin:/bin", "PROOFQ_PASSWORD": "word"}, stdout=subprocess.DEVNULL
    )
    try:
        _ask_until_right(place)
        assert b"word" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    finally:
        process.kill()
        process.wait()
        place.unlink(missing_ok=True)
        place.parent.rmdir()


def _listens(place: Path) -> bool:
    """The file of a socket is there a moment before anybody listens on it."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(place)) == 0


def _ask_until_right(place: Path) -> None:
    from proofq.workers import connection
    from proofq.workers.errors import RedisUnavailable
    from tests.waiting import until

    until(lambda: _listens(place), 15, "a Redis that listens")
    with pytest.raises(RedisUnavailable, match="refuses the user or password"):
        connection.connect(f"unix://{place}")
    client = connection.connect(f"unix://:word@{place}")
    wanted = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}
    try:
        for name, value in wanted.items():
            assert value in str(client.config_get(name))
    finally:
        client.close()
