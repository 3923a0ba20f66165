"""What an attempt did that nobody could confirm is not taken for what was there before the task."""

from __future__ import annotations

import signal
import time

from proofq.policies import lifecycle
from tests.acceptance.harness import Site

#: Seconds in which an agent that was started all the same would have done its work.
WOULD_TAKE_S = 3.0


def test_nothing_starts_before_the_world_is_written_down() -> None:
    """Redis goes away before the first start and the worker dies: the next attempt does the same and is proven."""
    with Site({"slots": 1, "meta_slots": 0}) as site:
        worker = site.start().wait_ready()
        out = site.files / "a"
        task_id = site.enqueue("judged_write", out=str(out), text="a", run_s=0.0, proof_s=1.0)
        site.wait_for(task_id, lifecycle.LEASED)
        site.server.pause()
        end = time.monotonic() + WOULD_TAKE_S
        while time.monotonic() < end and not out.exists():
            time.sleep(0.01)
        worker.signal_all(signal.SIGKILL)
        site.server.resume()
        site.start().wait_ready()
        state = site.wait_for(task_id, lifecycle.TERMINAL).state
        assert state == lifecycle.VERIFIED, site.story(task_id)
