"""Clients: which Redis they speak to, that nothing is sent twice, and that no password gets into a message."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
from redis.sentinel import Sentinel

from proofq.workers import connection, embedded
from proofq.workers.errors import Error, NotBuilt, RedisUnavailable
from tests.servers import PrivateServer

PASSWORD = "p@ss/w:rd?#%41é"


class LosesReply:
    """A proxy before a server's socket that hangs up once, instead of passing on the reply to a certain command."""

    def __init__(self, target: str, path: Path, command: bytes) -> None:
        self.url = f"unix://{path}"
        self._target, self._command = target, command
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        lost = False
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, socket.socket(socket.AF_UNIX) as server:
                server.connect(self._target)
                while request := client.recv(65536):
                    server.sendall(request)
                    reply = server.recv(65536)
                    if self._command in request and not lost:
                        lost = True
                        break
                    client.sendall(reply)

    def close(self) -> None:
        """Stop accepting."""
        self._listener.close()


@pytest.fixture
def lossy(redis_server: PrivateServer) -> Iterator[str]:
    """A URL over which the first INCR's reply is lost."""
    path = Path(redis_server.socket).with_name("lossy")
    proxy = LosesReply(redis_server.socket, path, b"INCR")
    yield proxy.url
    proxy.close()
    path.unlink()


@pytest.mark.parametrize("options", ["", "?retry_on_timeout=true", "?retry_on_error=ConnectionError"])
def test_nothing_is_sent_twice(lossy: str, redis_client: redis.Redis, options: str) -> None:
    """A lost reply is an error and one execution; no option of the URL turns re-sending on."""
    client = connection.client(lossy + options)
    with pytest.raises(redis.ConnectionError):
        client.incr("count")
    assert redis_client.get("count") == b"1"
    client.close()


def test_replies_are_bytes_whatever_the_url_says(redis_server: PrivateServer, redis_client: redis.Redis) -> None:
    """decode_responses and protocol of the URL have no effect."""
    redis_client.set("key", "value")
    assert connection.connect(f"{redis_server.url}?decode_responses=true&protocol=3").get("key") == b"value"


def test_silent_server_is_an_error_in_time(redis_server: PrivateServer) -> None:
    """A server that hangs costs the timeout and not more; the sentence says so."""
    redis_server.pause()
    try:
        began = time.monotonic()
        with pytest.raises(RedisUnavailable, match="does not answer in time"):
            connection.connect(redis_server.url, socket_timeout_s=0.2)
        assert time.monotonic() - began < 15
    finally:
        redis_server.resume()


def test_client_survives_a_restart(redis_server: PrivateServer, redis_client: redis.Redis) -> None:
    """After a restart of the server the next command goes through; nothing had been sent on the dead connection."""
    redis_client.set("key", "value")
    redis_server.restart(kill=True)
    assert redis_client.get("key") == b"value"


def test_nobody_there() -> None:
    """Nothing listens: exit code 7, and a sentence with the place and without the password."""
    for url in ("redis://me:hunter2@127.0.0.1:1/0", "unix://me:hunter2@/nonexistent/socket"):
        with pytest.raises(RedisUnavailable, match="not reachable") as refused:
            connection.connect(url)
        assert "hunter2" not in str(refused.value)
        assert refused.value.exit_code == 7


@pytest.mark.both_binaries
def test_user_and_password_of_the_url(redis_binary: str) -> None:
    """An ACL user with any characters in the password gets in, over socket and TCP; a wrong one gets a sentence."""
    port = _free_port()
    with PrivateServer(redis_binary, port=port) as server:
        admin = connection.connect(server.url)
        admin.execute_command("ACL", "SETUSER", "queue", "on", f">{PASSWORD}", "~*", "+@all")
        secret = quote(PASSWORD, safe="")
        for url in (f"redis://queue:{secret}@127.0.0.1:{port}/2", f"unix://queue:{secret}@{server.socket}?db=2"):
            opened = connection.connect(url)
            assert opened.execute_command("ACL", "WHOAMI") == b"queue"
            opened.set("in", url)
        with pytest.raises(RedisUnavailable, match="refuses the user or password") as refused:
            connection.connect(f"redis://queue:{secret}x@127.0.0.1:{port}")
        assert secret not in str(refused.value)
        admin.execute_command("ACL", "SETUSER", "queue", "-info")
        assert connection.connect(f"redis://queue:{secret}@127.0.0.1:{port}/2").get("in")


def test_tls(redis_binary: str, tmp_path: Path) -> None:
    """rediss:// checks the certificate: with the right authority it connects, without it it refuses."""
    openssl = shutil.which("openssl")
    if openssl is None or b"libssl" not in subprocess.run(["ldd", redis_binary], capture_output=True).stdout:
        pytest.skip("needs openssl, and a redis-server built with TLS")
    key, certificate, port = tmp_path / "key.pem", tmp_path / "cert.pem", _free_port()
    subprocess.run(
        f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
        f"-addext subjectAltName=DNS:localhost -keyout {key} -out {certificate}".split(),
        check=True,
        capture_output=True,
    )
    tls = {
        "tls-port": str(port),
        "tls-cert-file": str(certificate),
        "tls-key-file": str(key),
        "tls-ca-cert-file": str(certificate),
        "tls-auth-clients": "no",
    }
    with PrivateServer(redis_binary, config=tls):
        assert connection.connect(f"rediss://localhost:{port}/0?ssl_ca_certs={certificate}").ping()
        with pytest.raises(RedisUnavailable):
            connection.connect(f"rediss://localhost:{port}/0")


@pytest.mark.both_binaries
def test_cluster_is_refused(redis_binary: str) -> None:
    """A Redis Cluster is refused with the reason, before anything is written to it."""
    # The cluster's bus listens 10,000 above the port.
    with (
        PrivateServer(redis_binary, port=_free_port(below=55000), config={"cluster-enabled": "yes"}) as server,
        pytest.raises(RedisUnavailable, match="Redis Cluster"),
    ):
        connection.connect(server.url)


def test_sentinel_is_refused(redis_binary: str, tmp_path: Path) -> None:
    """A Sentinel is told apart from a Redis, and refused as not built."""
    port = _free_port()
    settings = tmp_path / "sentinel.conf"
    settings.write_text(f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n")
    process = subprocess.Popen([redis_binary, str(settings), "--sentinel"], stdout=subprocess.DEVNULL)
    try:
        with pytest.raises(NotBuilt, match="Sentinel"):
            _connect_once_up(f"redis://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "url", ["", "localhost", "http://host", "redis://host:port", "redis://:pa:ss@h:x", "redis+sentinel://h"]
)
def test_broken_urls_are_refused(url: str) -> None:
    """A URL that cannot be read is refused with what one looks like."""
    with pytest.raises(RedisUnavailable, match="cannot be read"):
        connection.client(url)


def test_order_of_the_variables(redis_server: PrivateServer, tmp_path: Path) -> None:
    """PROOFQ_REDIS_URL before REDIS_URL; what is set is used alone, dead or not; empty is refused."""
    ours, theirs = redis_server.url, "redis://127.0.0.1:1"
    assert connection.resolve_url(tmp_path, {"PROOFQ_REDIS_URL": ours, "REDIS_URL": theirs}) == ours
    assert connection.resolve_url(tmp_path, {"PROOFQ_REDIS_URL": theirs, "REDIS_URL": ours}) == theirs
    assert connection.resolve_url(tmp_path, {"REDIS_URL": theirs}) == theirs
    for variable in ("PROOFQ_REDIS_URL", "REDIS_URL"):
        with pytest.raises(RedisUnavailable, match=f"{variable} is set but empty"):
            connection.resolve_url(tmp_path, {variable: " "})
    assert list(tmp_path.iterdir()) == []


def test_without_variables_the_embedded_one(tmp_path: Path, redis_binary: str) -> None:
    """No variable: the project's own server, in .proofq or where PROOFQ_STATE_DIR says."""
    environ = {"PROOFQ_EMBEDDED_SERVER": redis_binary}
    elsewhere = environ | {"PROOFQ_STATE_DIR": "elsewhere"}
    try:
        default = connection.resolve_url(tmp_path, environ)
        moved = connection.resolve_url(tmp_path, elsewhere)
        assert connection.connect(default).ping()
        assert default != moved
        assert (tmp_path / ".proofq" / "redis").is_dir()
        assert (tmp_path / "elsewhere" / "redis").is_dir()
    finally:
        embedded.stop(tmp_path / ".proofq")
        embedded.stop(tmp_path / "elsewhere")


def test_state_directory_that_cannot_be(tmp_path: Path) -> None:
    """A state directory that cannot be made is a sentence, not a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Error, match="PROOFQ_STATE_DIR"):
        connection.resolve_url(tmp_path, {"PROOFQ_STATE_DIR": str(tmp_path / "file" / "below")})


def _free_port(below: int = 65536) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port < below:
            return port


def _connect_once_up(url: str) -> None:
    waited = threading.Event()
    for _ in range(500):
        try:
            connection.connect(url)
        except RedisUnavailable as error:
            if "not reachable" not in str(error):
                raise
            waited.wait(0.01)
        else:
            return


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:6379?db=0",
        "redis://us%3Aer:p%40ss%2F@example.test:7000?db=3",
        "redis://[::1]:6379?db=0",
        "rediss://:secret@example.test:6380?ssl_ca_certs=%2Fetc%2Fca.pem&db=1",
        "unix:///run/a%20b.sock?db=2",
    ],
)
def test_the_url_of_somebody_elses_client(url: str) -> None:
    """What a client of RQ's people connects to is said as a URL that leads to the same place."""
    first = redis.Redis.from_url(url)
    again = connection.client(connection.url_of(first))
    assert again.connection_pool.connection_class is first.connection_pool.connection_class
    for name in ("host", "port", "path", "db", "username", "password", "ssl_ca_certs"):
        one, other = (pool.connection_kwargs.get(name) for pool in (first.connection_pool, again.connection_pool))
        assert one == other, name


def test_a_client_that_no_url_says_is_refused() -> None:
    """Through a Sentinel there is no one place; a sentence says so."""
    with pytest.raises(NotBuilt, match="cannot be said as a URL"):
        connection.url_of(Sentinel([("localhost", 1)]).master_for("m"))
