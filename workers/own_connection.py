"""One thread's own connection to Redis, for scripts: at a third of what the pool costs."""

from __future__ import annotations

import socket
import struct
from typing import Any, cast

import hiredis
import redis
from redis.commands.core import Script


class OwnConnection:
    """Runs scripts on one connection of the kind that `pool` makes. For one thread.

    Nothing is ever sent twice: what fails is raised (redis-py's errors, OSError), and the next call connects anew.
    """

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._connection = cast(Any, pool.make_connection())
        self._connection.register_connect_callback(self._leave_time_to_the_kernel)

    def __del__(self) -> None:
        # With its thread; one that could not be taken at all has none.
        if hasattr(self, "_connection"):
            self._connection.disconnect()

    def _leave_time_to_the_kernel(self, connection: Any) -> None:
        """Time-outs as options of the socket: Python's own cost a poll before each call, and with it the interpreter's
        lock. Who comes too late is an EAGAIN, which redis-py makes a ConnectionError."""
        opened = connection._sock
        limit_s = opened.gettimeout()
        if type(opened) is not socket.socket or not limit_s:
            return  # TLS has calls of its own
        limit = struct.pack("@ll", int(limit_s), int(limit_s % 1 * 1_000_000))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            opened.setsockopt(socket.SOL_SOCKET, option, limit)
        opened.settimeout(None)

    def run(self, script: Script, arguments: list[Any]) -> Any:
        """The script's answer."""
        try:
            return self._command("EVALSHA", script.sha, 0, *arguments)
        except redis.exceptions.NoScriptError:
            # A server that was restarted, or failed over, or never saw it: it was not run.
            self._command("SCRIPT", "LOAD", script.script)
            return self._command("EVALSHA", script.sha, 0, *arguments)

    def _command(self, *words: Any) -> Any:
        try:
            # Packed here: redis-py first looks for words that are none of ours, which takes twice as long as this.
            self._connection.send_packed_command([hiredis.pack_command(words)])
            return self._connection.read_response()
        except redis.ResponseError:
            raise
        except BaseException:
            # What may still come on it is no answer to whatever is asked next.
            self._connection.disconnect()
            raise
