"""Tokens of a worker: as those of everybody, without asking the kernel."""

from __future__ import annotations

import re

from proofq.workers.clock import WorkerClock


def test_tokens_of_a_worker_differ():
    """Eight hex digits each, and no two clocks tell the same."""
    one, other = WorkerClock(), WorkerClock()
    tokens = [clock.token() for _ in range(500) for clock in (one, other)]
    assert all(re.fullmatch(r"[0-9a-f]{8}", token) for token in tokens)
    assert len(set(tokens)) > 990
