"""What an attempt did that nobody could confirm is not taken for what was there before the task."""

from __future__ import annotations

import signal
import time

import pytest

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


@pytest.mark.parametrize("agent", ["write_and_fell", "write_and_fell_async"])
def test_what_nobody_lived_to_write_down_is_told_again(agent: str) -> None:
    """The first attempt does all of its work and ends its supervisor before its start is written, and with it how the
    world was before: the next one writes the same bytes, and is proven."""
    with Site({"slots": 1, "meta_slots": 0}) as site:
        site.start().wait_ready()
        out = site.files / "a"
        task_id = site.enqueue(agent, out=str(out), text="a")
        state = site.wait_for(task_id, lifecycle.TERMINAL).state
        assert state == lifecycle.VERIFIED, site.story(task_id)
        assert (out.with_name("a.runs")).read_text() == "12"
