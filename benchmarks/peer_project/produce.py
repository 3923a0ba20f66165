"""Enqueues for the harness, which has none of the peers installed: `produce.py arq_peer`, with PEER_URL set.

Each line of stdin is a JSON list of [what, inputs]; once all of a line are enqueued, a line is written to stdout.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys


async def main() -> None:
    """Until stdin ends."""
    enqueue = await importlib.import_module(sys.argv[1]).enqueuer()
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        for what, inputs in json.loads(line):
            await enqueue(what, inputs)
        print("done", flush=True)


asyncio.run(main())
