"""A key that is refused: `python -m tests.acceptance.dead_key --tasks 100 --slots 32 [--worked]`.

Of a key that nobody has seen before two requests may be sent, of one that worked one for each slot in flight and one
more; a human is called once, and once the key is mended all tasks run.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from dataclasses import dataclass, field

from proofq.policies import gate, lifecycle
from proofq.workers import gates
from tests.acceptance.gated import Gated, gated
from tests.waiting import until

#: Seconds for which nothing more may come once the gate is held.
QUIET_S = 3.0


@dataclass
class Dead:
    """What was found; `wrong` is empty when the key was asked about no oftener than that takes."""

    tasks: int
    most: int
    refused: int = 0
    pages: int = 0
    waiting: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.tasks} tasks: {self.refused} requests with the refused key (at most {self.most}), {self.pages} "
            f"page, {self.waiting} tasks waited and ran once it was mended; {len(self.wrong)} contradictions"
        )


def dead_key(tasks: int, slots: int, *, worked: bool) -> Dead:
    """The provider refuses the key, from the beginning or while every slot has a request in flight."""
    with gated({}) as site:
        if not worked:
            site.provider.status(401)
        site.start(slots).wait_ready(60.0)
        return refused(site, tasks, slots, worked=worked)


def refused(site: Gated, tasks: int, slots: int, *, worked: bool, quiet_s: float = QUIET_S) -> Dead:
    """The same of a site whose workers are ready, with so many slots in all; worked: whose gate is fresh."""
    found = Dead(tasks, slots + 1 if worked else 2)
    pages = site.pages()
    ids = _expire(site, tasks, slots) if worked else site.enqueue(tasks)
    site.wait_gate(gate.HELD, 60.0)
    time.sleep(quiet_s)
    found.refused = sum(status == 401 for _, status in site.sent())
    found.pages = site.pages() - pages
    found.waiting = site.states(ids)[lifecycle.QUEUED]
    site.provider.status(200)
    gates.act(site.site.store, "open", "moody", "test", "mended")
    site.wait_verified(ids, 120.0)
    found.wrong = site.wrong(ids)
    begun, counted = site.attempts(ids)
    if found.refused > found.most:
        found.wrong.append(f"{found.refused} requests, at most {found.most}")
    if found.pages != 1:
        found.wrong.append(f"a human was called {found.pages} times")
    if counted != tasks or begun - counted != found.refused:
        found.wrong.append(f"{begun} attempts, {counted} counted, {found.refused} refused")
    return found


def _expire(site: Gated, tasks: int, slots: int) -> list[str]:
    """Refuse the key while each slot has a request in flight; what was answered before is answered."""
    site.site.wait_for(site.enqueue(1)[0], lifecycle.VERIFIED)
    gone = threading.Event()

    def expiring(_key: str, _number: int) -> tuple[int, dict[str, str]] | None:
        gone.wait(60.0)
        return 401, {}

    site.provider.refuse = expiring
    site.provider.waiting = 0
    ids = site.enqueue(tasks)
    until(lambda: site.provider.waiting == slots, 60.0, "a request of every slot")
    gone.set()
    return ids


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--worked", action="store_true", help="the key worked, and expires")
    options = parser.parse_args()
    found = dead_key(options.tasks, options.slots, worked=options.worked)
    print(found, *found.wrong, sep="\n")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
