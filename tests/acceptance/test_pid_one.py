"""A launcher that is process 1, as in a container without an init: it reaps strangers, and TERM drains it."""

from __future__ import annotations

import subprocess

from proofq.workers import proctree
from tests.acceptance.harness import Site
from tests.waiting import until


def test_process_one_reaps_what_it_never_started() -> None:
    """An orphan of a foreign program ends and leaves no zombie; then TERM ends it with 0."""
    with Site() as site:
        worker = site.start(host="box").wait_ready()
        # The first is the program that made the namespace; the launcher is its child.
        _, launcher = worker.processes("launcher")
        ours = {one.pid for one in proctree.snapshot().values() if one.ppid == launcher.pid}

        def strangers() -> list[proctree.Process]:
            return [one for one in proctree.snapshot().values() if one.ppid == launcher.pid and one.pid not in ours]

        # In its pid namespace: the shell ends at once, and what it leaves belongs to process 1.
        inside = ["nsenter", f"--pid=/proc/{launcher.pid}/ns/pid", "sh", "-c", "sleep 0.5 & echo $!"]
        left = subprocess.run(inside, check=True, timeout=20, stdout=subprocess.PIPE).stdout
        assert left.strip().isdigit()
        until(lambda: not strangers(), 10, "the orphan's reaping")
        launcher.signal(15)
        assert worker.wait(40) == 0
