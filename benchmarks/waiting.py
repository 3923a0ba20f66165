"""`make bench-waiting`: what attempts cost that only wait. Exit code 1 if something was not measured."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import quiet
from benchmarks.sides import Ours
from proofq.policies import lifecycle
from proofq.workers import keys, proctree
from tests.waiting import until


class Waiting(Ours):
    """One worker with room for `slots` attempts at a time."""

    template = Path(__file__).with_name("waiting")
    _agents = ("sleeps", "write_async", "sleeps_command")

    def __init__(self, slots: int) -> None:
        super().__init__()
        self._slots = slots

    def _command(self) -> list[str]:
        return [*super()._command(), "--slots", str(self._slots)]

    def warm(self) -> None:
        """The host and the verifier are up, as in a worker that has worked before."""
        self.connect()
        self.enqueue("sleeps", run_s=0.01)
        self.enqueue("write_async", out=self.out())
        self.wait_done(2, 30)

    def running(self) -> int:
        """Tasks whose start is confirmed."""
        tasks = self._session.store.read_many(self._session.store.newest(0, 10_000))
        return sum(task.state == lifecycle.RUNNING for task in tasks)

    def pss_kib(self, *, own_only: bool = False) -> int:
        """Memory of all its processes, shared pages by their part. `own_only`: without the programs that agents are."""
        assert self._process is not None
        pids = [self._process.pid, *(one.pid for one in proctree.descendants(self._process.pid))]
        return sum(_pss_kib(pid) for pid in pids if not own_only or _is_python(pid))


def _pss_kib(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def _is_python(pid: int) -> bool:
    try:
        return b"python" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def memory(agent: str, count: int) -> dict[str, float]:
    """KiB that each of `count` waiting attempts adds to an idle worker that has worked before."""
    with Waiting(count) as side:
        assert isinstance(side, Waiting)
        side.warm()
        own_only = agent == "sleeps_command"
        base = side.pss_kib(own_only=own_only)
        for _ in range(count):
            side.enqueue(agent, run_s=120.0)
        until(lambda: side.running() == count, 120.0, f"{count} running {agent}: {side.log()}")
        full = side.pss_kib(own_only=own_only)
    return {"base_kib": base, "full_kib": full, "kib_each": round((full - base) / count, 1)}


def makespan(count: int) -> dict[str, float]:
    """Seconds from when the worker may lease until `count` tasks of a second each have ended."""
    with Waiting(count) as side:
        assert isinstance(side, Waiting)
        side.warm()
        side.harness.set(keys.RQ_SUSPENDED, 1)
        for _ in range(count):
            side.enqueue("sleeps", run_s=1.0)
        cpu_s = side.cpu_s()
        begun = time.monotonic()
        side.harness.delete(keys.RQ_SUSPENDED)
        side.harness.publish(keys.BELL, keys.queue_of("work", "sleeps"))
        side.wait_done(count + 2, 120)
        return {"s": round(time.monotonic() - begun, 3), "cpu_s": round(side.cpu_s() - cpu_s, 3)}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench-waiting", description="What attempts cost that only wait.")
    parser.add_argument("--async-count", type=int, default=400, help="waiting async attempts (default 400)")
    parser.add_argument("--command-count", type=int, default=200, help="waiting command attempts (default 200)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the makespan (default 5)")
    parser.add_argument("--json", metavar="FILE", help="write every figure there")
    options = parser.parse_args()
    figures: dict[str, Any] = {"machine": quiet.machine(), "load": quiet.look().load}
    try:
        figures["async"] = memory("sleeps", options.async_count)
        figures["command"] = memory("sleeps_command", options.command_count)
        rounds = [makespan(options.async_count) for _ in range(options.rounds)]
    except AssertionError as problem:
        print(f"bench-waiting: {problem}", file=sys.stderr)
        return 1
    figures["makespan"] = {
        "rounds": rounds,
        "median_s": statistics.median(one["s"] for one in rounds),
        "median_cpu_s": statistics.median(one["cpu_s"] for one in rounds),
    }
    print(json.dumps(figures, indent=1))
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
