"""What a forkserver becomes once its supervisor is gone and everything below it is dead: it tells the fleet.

`python -m proofq.workers.bury FD`: of a file with what `argument` gave, as JSON. Whoever starts it bounds its time.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Final

from proofq.workers import connection
from proofq.workers.clock import SystemClock
from proofq.workers.insist import insist
from proofq.workers.scripts import RedisRunner
from proofq.workers.store import Store

#: How the forkserver's configuration names this module.
MODULE: Final = "proofq.workers.bury"


def argument(url: str, owner: str, host_id: str) -> dict[str, str]:
    """What it must be told. It goes to the forkserver on its socket: no environment shows the URL."""
    return {"url": url, "owner": owner, "host_id": host_id}


def main() -> None:
    """Tell the fleet, trying until it is heard."""
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        said = json.load(file)
    client, clock = connection.connect(said["url"]), SystemClock()
    store = Store(client, RedisRunner(client), clock)
    fields = {"dead": "1", "dead_by": "its forkserver", "why": "its supervisor died"}
    insist(lambda: store.bury(said["owner"], said["host_id"], fields), clock, lambda: False)


if __name__ == "__main__":
    main()
