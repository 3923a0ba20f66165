"""One thread's own connection to Redis, for scripts: what a worker does thousands of times costs it half as much so."""

from __future__ import annotations

from typing import Any

import redis
from redis.commands.core import Script


class OwnConnection:
    """Runs scripts on one connection of `pool`, taken when it is made. For one thread.

    Nothing is ever sent twice: what fails is raised (redis-py's errors, OSError), and the next call connects anew.
    """

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._connection: Any = pool.get_connection()

    def __del__(self) -> None:
        # With its thread; one that could not be taken at all has none.
        if hasattr(self, "_connection"):
            self._connection.disconnect()

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
            self._connection.send_command(*words)
            return self._connection.read_response()
        except redis.ResponseError:
            raise
        except BaseException:
            # What may still come on it is no answer to whatever is asked next.
            self._connection.disconnect()
            raise
