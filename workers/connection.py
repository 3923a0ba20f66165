"""Which Redis, and how to talk to it. The one place where clients are made.

redis-py sends a command again when its reply is lost (10 times by default): harmless for a GET, a second task
for a pop. Here nothing is ever re-sent behind the caller's back; who wants to try again does so knowingly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.retry import Retry

from proofq.workers import embedded, keys, statedir
from proofq.workers.errors import NotBuilt, RedisUnavailable

#: Seconds a command may wait for its reply, and a connection for being made.
SOCKET_TIMEOUT_S = 5.0
#: A connection idle for longer (seconds) is pinged before it is used again.
HEALTH_CHECK_S = 25
#: More than any worker has threads.
MAX_CONNECTIONS = 10_000
#: The oldest server whose commands RQ and proofq use (LMOVE).
OLDEST_SERVER = (6, 2)

#: From this part of maxmemory on a server counts as nearly full.
NEARLY_FULL = 0.9

#: How each kind of connection begins its URL.
_SCHEMES: Mapping[type[Any], str] = {Connection: "redis", SSLConnection: "rediss", UnixDomainSocketConnection: "unix"}

_URL_VARIABLES = ("PROOFQ_REDIS_URL", "REDIS_URL")


def resolve_url(project_root: Path, environ: Mapping[str, str]) -> str:
    """The URL of the one Redis to use: PROOFQ_REDIS_URL, else REDIS_URL, else the project's embedded server.

    A variable that is set is used alone, also when nothing answers there: never another store. The embedded
    server is started when it does not run. Raises RedisUnavailable, with what to do.
    """
    for variable in _URL_VARIABLES:
        url = environ.get(variable)
        if url is None:
            continue
        if not url.strip():
            raise RedisUnavailable(
                f"{variable} is set but empty. Give it a URL, or unset it to use the embedded Redis."
            )
        return url.strip()
    return embedded.ensure(statedir.locate(project_root, environ), environ=environ)


def connect(url: str, *, socket_timeout_s: float = SOCKET_TIMEOUT_S) -> redis.Redis:
    """A client for this URL, after one exchange with the server that shows it is one proofq can use.

    Raises RedisUnavailable when nothing answers, or the server is older than 6.2 or a Redis Cluster; NotBuilt
    for a Sentinel.
    """
    opened = client(url, socket_timeout_s=socket_timeout_s)
    try:
        check_server(opened, url)
    except BaseException:
        opened.close()
        raise
    return opened


def client(url: str, *, socket_timeout_s: float = SOCKET_TIMEOUT_S) -> redis.Redis:
    """A client that has not spoken to the server yet; for who must live through an outage.

    `redis://`, `rediss://` (TLS; options such as ssl_ca_certs in the query) and `unix://`, with user and
    password. Replies are bytes, errors are redis-py's. Options of the URL cannot turn on re-sending or
    decoding. Raises RedisUnavailable when the URL cannot be read.
    """
    try:
        options: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError):
        # The parser's own text may quote a part of the password.
        raise RedisUnavailable(
            f"The Redis URL ({redact(url)}) cannot be read. It looks like redis://host:6379/0, "
            "rediss://user:password@host/0 or unix:///path/to/socket; special characters of a password are "
            "percent-encoded."
        ) from None
    for unwanted in ("retry_on_timeout", "retry_on_error"):
        options.pop(unwanted, None)
    options |= {
        "socket_timeout": socket_timeout_s,
        "socket_connect_timeout": socket_timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": HEALTH_CHECK_S,
        "decode_responses": False,
        "protocol": 2,
        # redis-py's own bound of 100 would leave further slots waiting for an outage that is none.
        "max_connections": MAX_CONNECTIONS,
    }
    if options.get("connection_class") is not UnixDomainSocketConnection:
        options["socket_keepalive"] = True
    return redis.Redis(connection_pool=redis.ConnectionPool(**options))


def url_of(opened: redis.Redis) -> str:
    """The URL of a client that somebody else has made. NotBuilt where no URL says what it does (Sentinel, say)."""
    pool = opened.connection_pool
    given: dict[str, Any] = pool.connection_kwargs
    scheme = _SCHEMES.get(pool.connection_class)
    if scheme is None or given.get("credential_provider") is not None:
        raise NotBuilt(
            f"A client through {pool.connection_class.__name__} cannot be said as a URL; give one such as "
            "redis://user:password@host:6379/0."
        )
    user, password = (quote(str(given.get(part) or ""), safe="") for part in ("username", "password"))
    login = f"{user}:{password}@" if user or password else ""
    query = {name: value for name, value in given.items() if name.startswith("ssl_") and isinstance(value, str)}
    query["db"] = str(given.get("db") or 0)
    if scheme == "unix":
        return f"unix://{login}{quote(given['path'])}?{urlencode(query)}"
    host = str(given.get("host") or "localhost")
    where = f"[{host}]" if ":" in host else host
    return f"{scheme}://{login}{where}:{given.get('port') or 6379}?{urlencode(query)}"


def check_server(opened: redis.Redis, url: str) -> None:
    """Ask the server what it is. Raises as `connect` does."""
    try:
        server = opened.info("server")
    except redis.exceptions.NoPermissionError:
        # An ACL user that may not call INFO: what it may call shows itself soon enough.
        return
    except (redis.RedisError, OSError) as error:
        raise RedisUnavailable(_unreachable(url, error)) from error
    mode = server.get("redis_mode")
    if mode == "cluster":
        raise RedisUnavailable(
            f"{redact(url)} is a Redis Cluster. proofq moves several keys in one step, which a cluster "
            "cannot; use a single Redis, with replicas if you want them."
        )
    if mode == "sentinel":
        raise NotBuilt(f"{redact(url)} is a Sentinel. Finding the master through it is not built yet; give its URL.")
    version = str(server.get("redis_version", "0"))
    if _version(version) < OLDEST_SERVER:
        raise RedisUnavailable(f"{redact(url)} is Redis {version}; proofq needs 6.2 or newer.")


@dataclass(frozen=True)
class Condition:
    """What a server can take at present. Sizes are bytes; `max_bytes` 0 means no limit. `refuses`: why it would not
    write now, '' when it would."""

    used_bytes: int
    max_bytes: int
    refuses: str

    @property
    def nearly_full(self) -> bool:
        return 0 < NEARLY_FULL * self.max_bytes <= self.used_bytes


def condition(opened: redis.Redis) -> Condition:
    """Ask the server how it is. What an ACL forbids to ask counts as well; raises redis-py's errors of an outage."""
    memory: dict[str, Any] = {}
    refuses = ""
    try:
        memory = opened.info("memory")
        # Removes nothing: written only to hear whether a write would be taken.
        opened.zrem(keys.OWNERS, "")
    except redis.exceptions.NoPermissionError:
        pass
    except redis.ResponseError as error:
        refuses = "" if "WRONGTYPE" in str(error) else str(error)[:200]
    used, most = int(memory.get("used_memory", 0)), int(memory.get("maxmemory", 0))
    if not refuses and 0 < most <= used:
        refuses = "it has reached its maxmemory, so it takes no new task"
    return Condition(used, most, refuses)


def redact(url: str) -> str:
    """The URL without user, password and options: scheme, host, port, database or socket path.

    When the URL is so broken that parts of a password may stand anywhere, only its scheme is left.
    """
    known = re.match(r"(redis|rediss|unix)://", url)
    scheme = f"{known.group()}" if known else ""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return f"{scheme}..."
    if not known or "@" in parts.path + parts.query + parts.fragment:
        return f"{scheme}..."
    if known.group(1) == "unix":
        return f"{scheme}{parts.path}"
    database = parts.path if re.fullmatch(r"/\d+", parts.path) else ""
    return f"{scheme}{parts.hostname or 'localhost'}{port}{database}"


def _unreachable(url: str, error: Exception) -> str:
    """What to tell a user whose Redis did not answer as a Redis does."""
    where = redact(url)
    if isinstance(error, redis.exceptions.BusyLoadingError):
        return f"Redis at {where} is still loading its data; try again in a moment."
    if isinstance(error, redis.exceptions.AuthenticationError):
        return f"Redis at {where} refuses the user or password of the URL."
    if isinstance(error, redis.TimeoutError):
        return f"Redis at {where} does not answer in time; is the network or the server stuck?"
    return f"Redis at {where} is not reachable; is it running, and is the URL right? ({type(error).__name__})"


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
