"""A worker that falls silent loses its tasks in time, and nothing it does afterwards counts."""

from __future__ import annotations

import pytest

from tests.acceptance.isolation import ELSEWHERE, SLACK_S, may_unshare, must_unshare, silence

ISOLATION_S = 12.0


def test_silent_worker_loses_its_tasks() -> None:
    """Stopped for longer than isolation_s, here and on another host: taken over in time, then refused."""
    hosts: list[str | None] = [None, ELSEWHERE] if may_unshare() or must_unshare() else [None]
    found = silence(ISOLATION_S, hosts)
    for each in found:
        print(each)
    assert [each.wrong for each in found] == [[] for _ in hosts]
    assert max(seconds for each in found for seconds in each.taken_s) <= ISOLATION_S + SLACK_S
    # Nobody is robbed early: what is silent may still be at work.
    assert min(seconds for each in found for seconds in each.taken_s) >= ISOLATION_S - 2.0
    if len(hosts) == 1:
        pytest.skip("unshare is not permitted here: the part on another host was left out")
