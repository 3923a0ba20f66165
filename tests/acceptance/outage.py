"""Redis goes away under live leases: `python -m tests.acceptance.outage --away-s 60 --leases 40`.

Two workers with the default isolation hold the leases while the server is stopped, or paused, and comes back. Nobody
may lose a lease or an agent, and every task must be settled once.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from proofq.policies import lifecycle
from proofq.workers import proctree
from tests.acceptance.harness import Site, one_end

#: Seconds after the return in which everything must be settled.
SETTLE_S = 30.0


@dataclass
class Outage:
    """What was found. `wrong` is empty when nothing was lost."""

    leases: int
    ended_meanwhile: int = 0
    settled_s: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.leases} leases, {self.ended_meanwhile} agents ended while Redis was away; all settled within "
            f"{self.settled_s:.1f} s of its return, {len(self.wrong)} contradictions"
        )


def outage(away_s: float, leases: int, how: str = "restart") -> Outage:
    """Take Redis away for so long. Half of the agents end meanwhile, the others go on after it."""
    found = Outage(leases)
    with Site({"slots": (leases + 1) // 2, "meta_slots": 0, "drain_s": 5}) as site:
        workers = [site.start().wait_ready(), site.start().wait_ready()]
        # Half of the agents end while Redis is away, the others once it is back.
        meanwhile, after = Path(site.out("meanwhile")), Path(site.out("after"))
        ids = [site.enqueue("hang", until=str(meanwhile if n % 2 else after)) for n in range(leases)]
        for task_id in ids:
            site.wait_for(task_id, lifecycle.RUNNING, 60.0)
        assert {len(worker.holding()) for worker in workers} == {leases // 2}
        agents = {task_id: _agent(site, task_id) for task_id in ids}
        _away(site, away_s, how, meanwhile)
        back = time.monotonic()
        found.ended_meanwhile = sum(not proctree.is_alive(one) for one in agents.values())
        after.touch()
        site.wait_all(ids, SETTLE_S)
        found.settled_s = time.monotonic() - back
        found.wrong += [line for task_id in ids for line in _wrong(site, task_id)]
        if found.wrong:
            found.wrong.append(site.logs())
    return found


def _away(site: Site, away_s: float, how: str, meanwhile: Path) -> None:
    """Stop the server and start it again, or let it stand still; in the middle of it the file appears."""
    (site.server.pause if how == "pause" else site.server.stop)()
    time.sleep(away_s / 2)
    meanwhile.touch()
    time.sleep(away_s / 2)
    (site.server.resume if how == "pause" else site.server.start)()


def _agent(site: Site, task_id: str) -> proctree.ProcessId:
    return proctree.identity(int(site.snapshot(task_id).attempts[-1]["pid"]))


def _wrong(site: Site, task_id: str) -> list[str]:
    """One attempt, ended by itself, never taken, settled once."""
    snapshot = site.snapshot(task_id)
    wrong = one_end(snapshot)
    events = [crumb.event for crumb in snapshot.crumbs]
    if events != ["enqueue", "lease", "start", "claim", "finish_unproven"]:
        wrong.append(f"{task_id} went another way:\n{site.story(task_id)}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--away-s", type=float, default=60.0)
    parser.add_argument("--leases", type=int, default=40)
    parser.add_argument("--how", choices=("restart", "pause"), default="restart")
    options = parser.parse_args()
    found = outage(options.away_s, options.leases, options.how)
    print(found, *found.wrong, sep="\n")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
