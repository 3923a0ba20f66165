"""The forkserver's one call to Redis: its supervisor is gone and everything below it is dead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proofq.workers import connection
from proofq.workers.clock import SystemClock
from proofq.workers.insist import insist
from proofq.workers.scripts import RedisRunner
from proofq.workers.store import Store

#: How the forkserver's configuration names the function below.
FUNCTION = "proofq.workers.bury:bury"


def argument(url: str, owner: str, host_id: str) -> dict[str, str]:
    """What `bury` must be called with. It goes to the forkserver on its socket: no environment shows the URL."""
    return {"url": url, "owner": owner, "host_id": host_id}


def bury(said: Mapping[str, Any]) -> None:
    """Tells the fleet, trying until it is heard; whoever calls bounds the time."""
    client, clock = connection.connect(said["url"]), SystemClock()
    store = Store(client, RedisRunner(client), clock)
    fields = {"dead": "1", "dead_by": "its forkserver", "why": "its supervisor died"}
    insist(lambda: store.bury(said["owner"], said["host_id"], fields), clock, lambda: False)
