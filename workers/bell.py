"""Hears the doorbell: a task became ready, or a lease should be looked at. A missed ring costs at most a tick.

On the same connection it hears the commands that RQ's people send to our slots.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

import redis

from proofq.policies.isolation import MAX_BACKOFF_S
from proofq.workers import keys
from proofq.workers.clock import Clock

log = logging.getLogger(__name__)


class Bell:
    """Calls `on_ring` with what was rung (a queue's name, or an owner's id), and `on_command` with the channel and the
    message of each of `channels`, until `stop` is set. Neither may raise."""

    def __init__(
        self,
        client: redis.Redis,
        clock: Clock,
        on_ring: Callable[[str], None],
        stop: threading.Event,
        channels: Sequence[str] = (),
        on_command: Callable[[str, bytes], None] = lambda _channel, _data: None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._on_ring = on_ring
        self._stop = stop
        self._channels = list(channels)
        self._on_command = on_command

    def listen(self) -> None:
        """Subscribes, and subscribes again whenever Redis was away."""
        while not self._stop.is_set():
            try:
                self._hear()
            except (redis.ConnectionError, redis.TimeoutError, OSError):
                self._clock.sleep(MAX_BACKOFF_S)

    def _hear(self) -> None:
        with self._client.pubsub(ignore_subscribe_messages=True) as subscription:  # type: ignore[no-untyped-call]
            subscription.subscribe(keys.BELL, *self._channels)
            while not self._stop.is_set():
                message = subscription.get_message(timeout=1.0)
                if message is None or not isinstance(message["data"], bytes):
                    continue
                channel = message["channel"].decode("utf-8", "replace")
                if channel == keys.BELL:
                    self._on_ring(message["data"].decode("utf-8", "replace"))
                else:
                    self._on_command(channel, message["data"])
