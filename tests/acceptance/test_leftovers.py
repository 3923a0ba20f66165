"""What nobody is left to guard: swept when the next worker of the host starts."""

from __future__ import annotations

import signal

from proofq.policies import lifecycle
from tests.acceptance.harness import Site
from tests.waiting import until


def test_sweep_at_start() -> None:
    """Both guards dead and the third one stopped: the next worker ends what is left, also where no row names it."""
    with Site() as site:
        worker = site.start().wait_ready()
        task_id = site.enqueue("hang_command")
        site.wait_for(task_id, lifecycle.RUNNING)
        worker.one("forkserver").signal(signal.SIGSTOP)
        worker.one("launcher").signal(signal.SIGKILL)
        worker.one("supervisor").signal(signal.SIGKILL)
        left = set(site.left())
        assert len(left) >= 2
        # Another Redis, which knows nothing of this owner.
        with Site() as other:
            other.start().wait_ready()
            until(lambda: not left & set(site.left()), 5.0, "the end of what was left")


def test_launcher_killed_while_its_worker_comes_up() -> None:
    """At whatever moment of its start: everything ends, nothing stands still for good."""
    with Site() as site:
        for role in ("supervisor", "supervisor", "forkserver", "forkserver"):
            worker = site.start()
            worker.one(role)
            worker.process.kill()
            worker.process.wait()
        until(lambda: not site.left(), 20.0, "the end of all workers")
