"""What a read of Redis may run into, in our words."""

from __future__ import annotations

import redis

from proofq.workers.errors import RedisUnavailable
from proofq.workers.scripts import DamagedKey


class reading:  # noqa: N801 - reads as a verb where it stands
    """Turns the client's errors during a read into ours; `key` names what was being read."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: object) -> None:
        if isinstance(problem, redis.ConnectionError | redis.TimeoutError | redis.ReadOnlyError | OSError):
            raise RedisUnavailable(f"Redis did not answer ({type(problem).__name__}); is it running?") from problem
        if isinstance(problem, redis.OutOfMemoryError):
            # At maxmemory Redis queues no transaction, not even one that only reads.
            raise RedisUnavailable(
                "Redis has reached its maxmemory and refuses to read several keys in one step. Give it more memory."
            ) from problem
        if isinstance(problem, redis.ResponseError) and "WRONGTYPE" in str(problem):
            raise DamagedKey(self._key, "value of another type") from problem


def text(value: bytes) -> str:
    """Anybody can put anything into Redis: one id that is no text must not hide all others."""
    return value.decode("utf-8", "replace")


def exact(value: bytes) -> str:
    """As text that says every byte, also of what is none."""
    return value.decode("utf-8", "surrogateescape")
