"""The embedded Redis: one server per project, whatever happens to it, its socket, its data or its starter."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from proofq.workers import connection, embedded
from proofq.workers.errors import RedisUnavailable

pytestmark = pytest.mark.both_binaries

ENSURE = (
    "import sys; from pathlib import Path; from proofq.workers import embedded; "
    "print(embedded.ensure(Path(sys.argv[1])))"
)


@dataclass
class Project:
    """A project directory of one test, and the surroundings its commands run in."""

    state: Path
    environ: dict[str, str]

    def ensure(self, **changed: str) -> str:
        """What a command does that needs Redis."""
        return embedded.ensure(self.state, environ=self.environ | changed, wait_s=15)

    def client(self) -> redis.Redis:
        """A client of the project's server."""
        return connection.connect(self.ensure())

    def servers(self) -> list[int]:
        """The pids of all servers that work on this data directory."""
        return servers_in(self.state / "redis")

    def command(self) -> subprocess.Popen[str]:
        """A process of its own that ensures the server and prints its URL."""
        return subprocess.Popen(
            [sys.executable, "-c", ENSURE, str(self.state)], env=self.environ, stdout=subprocess.PIPE, text=True
        )


def servers_in(data: Path) -> list[int]:
    """The pids of the processes whose working directory is this one; zombies have none."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "cwd").readlink() == data:
                    found.append(int(entry.name))
    return found


def until(done: Callable[[], bool], what: str) -> None:
    """Wait for a condition, at most 10 s."""
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


@pytest.fixture
def project(tmp_path: Path, redis_binary: str) -> Iterator[Project]:
    """A project whose embedded server is of the binary under test, with a private place for its socket."""
    runtime = tempfile.mkdtemp(prefix="pq-")
    environ = {"PATH": os.environ["PATH"], "PROOFQ_EMBEDDED_SERVER": redis_binary, "XDG_RUNTIME_DIR": runtime}
    root = tmp_path / "project"
    root.mkdir()
    yield Project(root / ".proofq", environ)
    for data in tmp_path.rglob("redis"):
        for pid in servers_in(data):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(runtime)


def test_one_server_closed_to_others(project: Project) -> None:
    """The server has no port, a socket and directories of this user alone, and loses no write to an eviction."""
    url = project.ensure()
    settings = _config(project.client(), "*")
    assert settings["port"] == "0"
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["save"] == ""
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["aof-load-truncated"] == "yes"
    socket = Path(url.removeprefix("unix://"))
    for closed in (socket, socket.parent, project.state, project.state / "redis"):
        assert closed.stat().st_mode & 0o777 == 0o700, closed
    assert (project.state / ".gitignore").read_text() == "*\n"


def test_commands_share_it_and_it_outlives_them(project: Project) -> None:
    """A second command finds the first one's server, which nobody's exit ends."""
    first = project.command()
    url = first.communicate(timeout=20)[0].strip()
    assert first.returncode == 0
    pids = project.servers()
    assert len(pids) == 1
    assert project.ensure() == url
    assert project.servers() == pids
    assert os.getsid(pids[0]) == pids[0]


def test_many_starting_at_once_share_one(project: Project) -> None:
    """Sixteen commands at once: one server, one URL."""
    commands = [project.command() for _ in range(16)]
    urls = {command.communicate(timeout=40)[0] for command in commands}
    assert [command.returncode for command in commands] == [0] * 16
    assert len(urls) == 1
    assert len(project.servers()) == 1


def test_starter_killed_at_any_moment(project: Project) -> None:
    """Whenever the starting command is killed, the next one ends up with one server that answers."""
    for step in range(16):
        command = project.command()
        time.sleep(0.04 + step * 0.008)  # no event to wait for: the moment itself is what varies
        command.kill()
        command.communicate()
        project.client().incr("starts")
        assert len(project.servers()) == 1
        embedded.stop(project.state)
    assert project.client().get("starts") == b"16"


def test_killed_server_comes_back_with_its_data(project: Project) -> None:
    """After kill -9 of the server the next command starts it again, at the same URL, with every write it let go."""
    url = project.ensure()
    client = project.client()
    for number in range(500):
        client.rpush("list", number)
    # While a flush to the disk is slow the server keeps what it has acknowledged to itself, for up to two seconds.
    until(lambda: client.info("persistence")["aof_buffer_length"] == 0, "every write let go")
    (pid,) = project.servers()
    os.kill(pid, signal.SIGKILL)
    assert project.ensure() == url
    assert project.client().llen("list") == 500
    assert project.servers() != [pid]


def test_large_data_is_waited_for(project: Project) -> None:
    """A server that is still loading is waited for: the URL is given out when all data is there."""
    client = project.client()
    client.eval("for i = 1, 400000 do redis.call('SET', 'key' .. i, 'some value of usual length') end", 0)
    (pid,) = project.servers()
    os.kill(pid, signal.SIGKILL)
    assert project.client().dbsize() == 400000


def test_stale_socket_and_pid_are_nobody(project: Project) -> None:
    """A left-over socket, and a pid that meanwhile is somebody else's, neither stop a start nor get anybody killed."""
    url = project.ensure()
    (pid,) = project.servers()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not project.servers(), "server dies")
    assert Path(url.removeprefix("unix://")).exists()
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        (project.state / "redis" / "server.pid").write_text(f"{bystander.pid}\n")
        assert embedded.status(project.state).state == "stopped"
        assert embedded.stop(project.state) is False
        project.client().ping()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_removed_socket_is_made_again(project: Project) -> None:
    """A cleaner of /tmp removed the socket file: the server behind it is replaced, its data kept."""
    url = project.ensure()
    project.client().set("kept", "yes")
    Path(url.removeprefix("unix://")).unlink()
    assert project.client().get("kept") == b"yes"
    assert len(project.servers()) == 1


def test_hanging_server_is_not_doubled(project: Project) -> None:
    """A server that hangs is neither killed nor given a rival on its data; the error names it, in time."""
    project.ensure()
    (pid,) = project.servers()
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(RedisUnavailable, match=f"pid {pid}"):
            embedded.ensure(project.state, environ=project.environ, wait_s=0.5)
        assert time.monotonic() - began < 20
        assert embedded.status(project.state).state == "silent"
        assert project.servers() == [pid]
    finally:
        os.kill(pid, signal.SIGCONT)
    assert project.client().ping()


def test_cut_tail_costs_only_the_tail(project: Project) -> None:
    """A power cut left half a command at the end of the file: the rest is there."""
    client = project.client()
    for number in range(100):
        client.rpush("list", "x" * 100 + str(number))
    embedded.stop(project.state)
    newest = max((project.state / "redis").rglob("*.aof"), key=lambda path: path.stat().st_size)
    with newest.open("rb+") as file:
        file.truncate(newest.stat().st_size - 20)
    assert project.client().llen("list") == 99


def test_broken_data_is_reported(project: Project) -> None:
    """Data broken in the middle: the server's own reason is in the error, and nothing is overwritten."""
    client = project.client()
    for number in range(100):
        client.rpush("list", number)
    embedded.stop(project.state)
    newest = max((project.state / "redis").rglob("*.aof"), key=lambda path: path.stat().st_size)
    whole = newest.read_bytes()
    newest.write_bytes(whole[: len(whole) // 2] + b"garbage" * 10 + whole[len(whole) // 2 :])
    broken = newest.read_bytes()
    with pytest.raises(RedisUnavailable, match="redis-check-aof"):
        project.ensure()
    assert newest.read_bytes() == broken
    newest.write_bytes(whole)
    assert project.client().llen("list") == 100


def test_moved_project_keeps_its_server(project: Project) -> None:
    """A project directory that is moved while its server runs still finds it; one put in its place gets its own."""
    project.client().set("mine", "yes")
    moved = Project(project.state.parent.parent / "elsewhere" / ".proofq", project.environ)
    project.state.parent.rename(moved.state.parent)
    assert moved.client().get("mine") == b"yes"
    assert project.client().get("mine") is None


def test_copied_project_gets_its_own_server(project: Project) -> None:
    """A copy of a project directory starts with a copy of the data, and never talks to the original's server."""
    project.client().set("mine", "original")
    copy = Project(project.state.parent.parent / "copy" / ".proofq", project.environ)
    shutil.copytree(project.state.parent, copy.state.parent)
    copy.client().set("mine", "copy")
    assert project.client().get("mine") == b"original"
    assert len(copy.servers()) == len(project.servers()) == 1


def test_deep_project_has_a_short_socket(project: Project) -> None:
    """A state directory of any depth works: the socket's path stays within the kernel's 107 bytes."""
    deep = Project(project.state.joinpath(*["a-directory-with-a-long-name"] * 6), project.environ)
    assert len(str(deep.state)) > 107
    assert len(deep.ensure().removeprefix("unix://")) <= 107


def test_unsafe_places_for_the_socket_are_refused(project: Project, tmp_path: Path) -> None:
    """A runtime directory too long, or whose `proofq` is a link or open to others, is not used."""
    runtime = Path(project.environ["XDG_RUNTIME_DIR"])
    (runtime / "elsewhere").mkdir()
    (runtime / "proofq").symlink_to(runtime / "elsewhere")
    assert str(runtime) not in project.ensure()
    embedded.stop(project.state)
    (runtime / "proofq").unlink()
    (runtime / "proofq").mkdir(mode=0o755)
    assert str(runtime) not in project.ensure()
    embedded.stop(project.state)
    long = tmp_path / ("a-long-name" * 15)
    long.mkdir()
    assert str(long) not in project.ensure(XDG_RUNTIME_DIR=str(long))


def test_server_gets_no_secrets(project: Project, tmp_path: Path) -> None:
    """Nothing of the caller's environment but what a program needs to run reaches the server."""
    # A server overwrites its environment in /proc with its title: what it was given is noted before it starts.
    noted, wrapper = tmp_path / "environment", tmp_path / "redis-server"
    wrapper.write_text(f'#!/bin/sh\nenv > {noted}\nexec {project.environ["PROOFQ_EMBEDDED_SERVER"]} "$@"\n')
    wrapper.chmod(0o755)
    project.ensure(PROOFQ_EMBEDDED_SERVER=str(wrapper), OPENAI_API_KEY="secret", PROOFQ_OWNER="w1:boot:1:1")
    names = {line.split("=")[0] for line in noted.read_text().splitlines()}
    assert "PATH" in names
    assert names <= {"PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "PWD", "SHLVL", "_", "OLDPWD"}


def test_pid_of_somebody_else_is_left_alone(project: Project) -> None:
    """A pid file that names another process gets nobody killed: stop says that it could not."""
    project.ensure()
    (pid,) = project.servers()
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        (project.state / "redis" / "server.pid").write_text(f"{bystander.pid}\n")
        with pytest.raises(RedisUnavailable, match="unknown"):
            embedded.stop(project.state, wait_s=0.2)
        assert bystander.poll() is None
        assert project.servers() == [pid]
    finally:
        bystander.kill()
        bystander.wait()


def test_who_looks_is_no_server(project: Project) -> None:
    """Two commands that look at once whether a server is there do not take each other for one."""
    project.ensure()
    embedded.stop(project.state)
    with (project.state / "redis" / "alive.lock").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert embedded.status(project.state).state == "stopped"


def test_dying_server_is_waited_for(project: Project) -> None:
    """A child that rewrites the file outlives its killed server: the next starts when that child has ended."""
    project.client().set("kept", "yes")
    (pid,) = project.servers()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not project.servers(), "server dies")
    lock = str(project.state / "redis" / "alive.lock")
    code = "import fcntl, sys, time; f = open(sys.argv[1]); fcntl.flock(f, 2); print(flush=True); time.sleep(1)"
    with subprocess.Popen([sys.executable, "-c", code, lock], stdout=subprocess.PIPE) as survivor:
        assert survivor.stdout is not None
        survivor.stdout.readline()
        assert project.client().get("kept") == b"yes"
        assert survivor.wait(20) == 0


def test_unusable_directory_is_a_sentence(project: Project) -> None:
    """What the system refuses is told with the place and a way out."""
    (project.state / "redis" / "start.lock").mkdir(parents=True)
    with pytest.raises(RedisUnavailable, match="PROOFQ_STATE_DIR"):
        project.ensure()
    (project.state / "redis" / "alive.lock").mkdir()
    for act in (embedded.stop, embedded.status):
        with pytest.raises(RedisUnavailable, match="PROOFQ_STATE_DIR"):
            act(project.state)


def test_stop_and_status(project: Project) -> None:
    """Status says what runs and starts nothing; stop ends it with its data written, once."""
    assert embedded.status(project.state).state == "stopped"
    assert not project.state.exists()
    assert embedded.stop(project.state) is False
    url = project.ensure()
    project.client().set("kept", "yes")
    running = embedded.status(project.state)
    assert (running.state, running.url, [running.pid]) == ("running", url, project.servers())
    assert running.binary == project.environ["PROOFQ_EMBEDDED_SERVER"]
    assert embedded.stop(project.state) is True
    assert project.servers() == []
    assert embedded.status(project.state).state == "stopped"
    assert embedded.stop(project.state) is False
    assert project.client().get("kept") == b"yes"


def _config(client: redis.Redis, pattern: str) -> Mapping[str, str]:
    found: Mapping[Any, Any] = client.config_get(pattern)
    return {_text(key): _text(value) for key, value in found.items()}


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
