"""What nobody is left to guard: swept when the next worker of the host starts."""

from __future__ import annotations

import signal
from functools import partial

from proofq.policies import lifecycle
from proofq.workers.guard import PULSE_S, PULSES_MISSED
from tests.acceptance.harness import Site
from tests.waiting import until

#: A guard that hears nothing gives up after so many pulses, and needs some time to kill and to start anew.
GIVES_UP_S = PULSE_S * (PULSES_MISSED + 1) + 12.0


def test_sweep_at_start() -> None:
    """Both guards dead and the third one stopped: the next worker ends what is left, also where no row names it."""
    with Site() as site:
        worker = site.start().wait_ready()
        task_id = site.enqueue("hang_command")
        site.wait_for(task_id, lifecycle.RUNNING)
        left = [one for one in worker.processes() if one.role in {"forkserver", "child"}]
        assert len(left) >= 2
        guards = [worker.one(role) for role in ("forkserver", "launcher", "supervisor")]
        for one in guards:
            one.signal(signal.SIGSTOP)
        for one in guards[1:]:
            one.signal(signal.SIGKILL)
        # Another Redis, which knows nothing of this owner.
        with Site() as other:
            other.start().wait_ready()
            until(lambda: not any(one.alive for one in left), 20.0, "the end of what was left")


def test_launcher_killed_while_its_worker_comes_up() -> None:
    """At whatever moment of its start: everything ends, nothing stands still for good."""
    with Site() as site:
        for role in ("supervisor", "supervisor", "forkserver", "forkserver"):
            worker = site.start()
            worker.one(role)
            worker.process.kill()
            worker.process.wait()
        until(lambda: not site.left(), 20.0, "the end of all workers")


def test_guard_that_hangs_is_replaced() -> None:
    """A supervisor or a forkserver that stands still is killed by the other one, with all agents; others take over."""
    with Site({"slots": 1, "meta_slots": 0}) as site:
        hung = [site.start().wait_ready(), site.start().wait_ready()]
        ids = [site.enqueue("hang"), site.enqueue("hang_command")]
        for task_id in ids:
            site.wait_for(task_id, lifecycle.RUNNING)
        stopped = [worker.one(role) for worker, role in zip(hung, ("supervisor", "forkserver"), strict=True)]
        agents = [one for worker in hung for one in worker.processes("child")]
        for one in stopped:
            assert one.signal(signal.SIGSTOP)
        until(lambda: not any(one.alive for one in [*stopped, *agents]), GIVES_UP_S, "the end of what stood still")
        for task_id in ids:
            until(partial(_started_twice, site, task_id), GIVES_UP_S, "the next attempt")
            assert site.task(task_id).deaths == 1


def _started_twice(site: Site, task_id: str) -> bool:
    return site.events(task_id).count("start") == 2
