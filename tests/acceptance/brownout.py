"""A provider that answers 503 for a while: `python -m tests.acceptance.brownout --outage-s 20 --tasks 100 --workers 4`.

No task may fail, few requests may reach the provider, and soon after it is back all must be verified. With `--kill` the
worker whose attempt is the gate's probe is killed with -9 mid-probe.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from dataclasses import dataclass, field

from proofq.policies import gate, lifecycle
from tests.acceptance.gated import Gated, gated
from tests.waiting import until


@dataclass
class Brownout:
    """What was found. `wrong` is empty when nothing was lost or counted that was not sent."""

    tasks: int
    sent: int = 0
    drained_s: float = 0.0
    begun: int = 0
    counted: int = 0
    killed: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.tasks} tasks: {self.sent} requests during the outage, all verified {self.drained_s:.1f} s after "
            f"it; {self.begun} attempts begun, {self.counted} counted, {self.killed} probers killed, "
            f"{len(self.wrong)} contradictions"
        )


def brownout(
    outage_s: float,
    tasks: int,
    workers: int,
    *,
    cooldown_s: float,
    min_calls: int,
    kill: bool = False,
    agent: str = "asks",
) -> Brownout:
    """A brownout of a site of its own."""
    with gated({"cooldown_s": cooldown_s, "min_calls": min_calls}) as site:
        site.workers(workers)
        return outage(site, outage_s, tasks, kill=kill, agent=agent)


def outage(site: Gated, outage_s: float, tasks: int, *, kill: bool = False, agent: str = "asks") -> Brownout:
    """One outage that begins while tasks run, of a site whose workers are ready and whose gate is fresh."""
    found = Brownout(tasks)
    site.site.wait_for(site.enqueue(1, agent)[0], lifecycle.VERIFIED)
    first = len(site.sent())
    begun = time.monotonic()
    site.provider.status(503)
    ids = site.enqueue(tasks, agent)
    if kill:
        found.killed = _kill_prober(site)
    time.sleep(max(0.0, begun + outage_s - time.monotonic()))
    back = time.monotonic()
    site.provider.status(200)
    found.sent = sum(status == 503 for _, status in site.sent())
    site.wait_verified(ids, 120.0)
    found.drained_s = time.monotonic() - back
    found.begun, found.counted = site.attempts(ids)
    reached = len(site.sent()) - first
    found.wrong += site.wrong(ids)
    if found.counted > reached:
        found.wrong.append(f"{found.counted} attempts were counted, and {reached} requests were sent")
    return found


def _kill_prober(site: Gated) -> int:
    """Kill, with all its processes, the worker whose attempt is the probe; another one takes its place."""
    site.wait_gate(gate.TRIPPED, 30.0)
    # So long that the probe is under way when it is looked at.
    held = site.provider.refuse
    site.provider.refuse = lambda key, number: time.sleep(1.5) or held(key, number)  # type: ignore[func-returns-value]
    probe = until(lambda: site.gate().probe, 60.0, "a probe")
    prober = next(worker for worker in site.site.workers if probe in [task.id for task in worker.holding()])
    prober.signal_all(signal.SIGKILL)
    site.provider.refuse = held
    site.start().wait_ready(60.0)
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outage-s", type=float, default=20.0)
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--cooldown-s", type=float, default=4.0)
    parser.add_argument("--min-calls", type=int, default=4)
    parser.add_argument("--kill", action="store_true", help="kill the prober with -9 mid-probe")
    options = parser.parse_args()
    found = brownout(
        options.outage_s, options.tasks, options.workers,
        cooldown_s=options.cooldown_s, min_calls=options.min_calls, kill=options.kill,
    )  # fmt: skip
    print(found, *found.wrong, sep="\n")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
