"""Stores: Redis and Postgres as scripted servers that refuse in their own protocols, and sqlite for real."""

from __future__ import annotations

import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.sdks.server import Scripted, closed_port

TIMEOUT_S = 0.6
#: What a Redis says to any command.
REDIS = {
    "NOAUTH": "-NOAUTH Authentication required.",
    "WRONGPASS": "-WRONGPASS invalid username-password pair or user is disabled.",
    "NOPERM": "-NOPERM this user has no permissions to run the 'get' command",
    "LOADING": "-LOADING Redis is loading the dataset in memory",
    "BUSY": "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "READONLY": "-READONLY You can't write against a read only replica.",
    "OOM": "-OOM command not allowed when used memory > 'maxmemory'.",
    "MISCONF": "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "CLUSTERDOWN": "-CLUSTERDOWN The cluster is down",
    "MASTERDOWN": "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "max clients": "-ERR max number of clients reached",
    "WRONGTYPE": "-WRONGTYPE Operation against a key holding the wrong kind of value",
    "NOSCRIPT": "-NOSCRIPT No matching script. Please use EVAL.",
    "syntax": "-ERR syntax error",
}
#: SQLSTATE and text with which a Postgres refuses a connection, or a statement.
CONNECTING = {
    "password": ("28P01", 'password authentication failed for user "u"'),
    "too many": ("53300", "sorry, too many clients already"),
    "starting": ("57P03", "the database system is starting up"),
    "no database": ("3D000", 'database "d" does not exist'),
}
STATEMENTS = {
    "serialization": ("40001", "could not serialize access due to concurrent update"),
    "deadlock": ("40P01", "deadlock detected"),
    "statement timeout": ("57014", "canceling statement due to statement timeout"),
    "disk full": ("53100", "could not extend file: No space left on device"),
    "shutdown": ("57P01", "terminating connection due to administrator command"),
    "read only": ("25006", "cannot execute INSERT in a read-only transaction"),
    "lock": ("55P03", "could not obtain lock on row"),
    "unique": ("23505", 'duplicate key value violates unique constraint "k"'),
    "no table": ("42P01", 'relation "t" does not exist'),
    "syntax": ("42601", 'syntax error at or near "x"'),
    "cast": ("22P02", 'invalid input syntax for type integer: "rate limit exceeded, 429"'),
    "privilege": ("42501", "permission denied for table t"),
}


def situations() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Each with what provokes it."""
    yield from _redis()
    yield from _postgres()
    yield from _sqlite()


# --- Redis ---------------------------------------------------------------------------------------------------------


def _redis() -> Iterator[tuple[str, Callable[[], Any]]]:
    for name, said in REDIS.items():
        with Scripted(_replying(said)) as port:
            yield f"redis {name}", partial(_get, port)
    yield "redis refused", lambda: _get(closed_port())
    yield "redis no_such_host", lambda: _get(6379, "no-such-host.invalid")
    with Scripted(lambda connection: connection.recv(1)) as port:
        yield "redis drop", partial(_get, port)
    with Scripted(lambda connection: threading.Event().wait(3 * TIMEOUT_S)) as port:
        yield "redis hang", partial(_get, port)
    with Scripted(_replying("nonsense")) as port:
        yield "redis nonsense", partial(_get, port)


def _replying(said: str) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        while (asked := connection.recv(65536)) != b"":
            # What a client says of itself first is taken note of.
            count = asked.count(b"CLIENT\r\n")
            connection.sendall(b"+OK\r\n" * count if count else f"{said}\r\n".encode())

    return talk


def _get(port: int, host: str = "127.0.0.1") -> Any:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    client = redis.Redis(
        host, port, protocol=2, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0)
    )
    return client.get("x")


# --- Postgres ------------------------------------------------------------------------------------------------------


def _postgres() -> Iterator[tuple[str, Callable[[], Any]]]:
    for name, said in CONNECTING.items():
        with Scripted(_refusing(*said)) as port:
            yield f"psycopg connect {name}", partial(_select, port)
    for name, said in STATEMENTS.items():
        with Scripted(_serving(*said)) as port:
            yield f"psycopg {name}", partial(_select, port)
    yield "psycopg refused", lambda: _select(closed_port())
    with Scripted(lambda connection: connection.recv(1)) as port:
        yield "psycopg drop", partial(_select, port)
    with Scripted(lambda connection: threading.Event().wait(4.0)) as port:
        yield "psycopg hang", partial(_select, port)
    with Scripted(_serving("", "")) as port:
        yield "psycopg cut", partial(_select, port)


def _select(port: int) -> Any:
    import psycopg

    # 2 s is the least that libpq waits for.
    with psycopg.connect(
        f"host=127.0.0.1 port={port} user=u password=p dbname=d connect_timeout=2 sslmode=disable"
    ) as one:
        return one.execute("select 1").fetchall()


def _begun(connection: socket.socket) -> None:
    (length,) = struct.unpack(">I", connection.recv(4))
    connection.recv(length - 4)


def _refusing(state: str, text: str) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        _begun(connection)
        connection.sendall(_refusal("FATAL", state, text))

    return talk


def _serving(state: str, text: str) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        _begun(connection)
        ready = _message(b"Z", b"I")
        parameters = (b"server_version\x0016.0\x00", b"client_encoding\x00UTF8\x00")
        connection.sendall(
            _message(b"R", struct.pack(">I", 0)) + b"".join(_message(b"S", one) for one in parameters) + ready
        )
        while (asked := connection.recv(65536)) != b"":
            if not state:
                return
            if asked[:1] in b"QPS":
                connection.sendall(_refusal("ERROR", state, text) + ready)

    return talk


def _refusal(severity: str, state: str, text: str) -> bytes:
    fields = b"".join(
        key + one.encode() + b"\0" for key, one in ((b"S", severity), (b"V", severity), (b"C", state), (b"M", text))
    )
    return _message(b"E", fields + b"\0")


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">I", 4 + len(body)) + body


# --- sqlite --------------------------------------------------------------------------------------------------------


def _sqlite() -> Iterator[tuple[str, Callable[[], Any]]]:
    import sqlite3

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.db"
        holder = sqlite3.connect(path, isolation_level=None)
        holder.executescript("create table t (x integer unique not null); insert into t values (1); begin exclusive")
        yield "sqlite3 locked", lambda: sqlite3.connect(path, timeout=0).execute("select * from t")
        holder.execute("rollback")
        read_only = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        yield "sqlite3 read only", lambda: read_only.execute("insert into t values (2)")
        small = sqlite3.connect(":memory:")
        small.executescript("pragma max_page_count = 2; create table t (x)")
        yield "sqlite3 full", lambda: small.execute("insert into t values (zeroblob(100000))")
        other = Path(folder) / "no.db"
        other.write_bytes(b"this is no database, but a text that is long enough" * 99)
        yield "sqlite3 no database", lambda: sqlite3.connect(other).execute("select * from t")
        yield "sqlite3 cannot open", lambda: sqlite3.connect(Path(folder) / "gone" / "a.db")
        yield "sqlite3 no table", lambda: holder.execute("select * from nowhere")
        yield "sqlite3 no column", lambda: holder.execute("select nothing from t")
        yield "sqlite3 syntax", lambda: holder.execute("selekt 1")
        yield "sqlite3 unique", lambda: holder.execute("insert into t values (1)")
        yield "sqlite3 not null", lambda: holder.execute("insert into t values (null)")
        yield "sqlite3 parameters", lambda: holder.execute("select ?", (1, 2))
        yield (
            "sqlite3 quoting",
            lambda: holder.execute('select "Error: 429 rate limit exceeded, invalid api key" from t limit 1 /*'),
        )
        holder.close()
        yield "sqlite3 closed", lambda: holder.execute("select 1")
