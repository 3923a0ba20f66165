"""Redis restarted under forty live leases costs nobody anything."""

from __future__ import annotations

from tests.acceptance.outage import outage


def test_restart_of_redis_costs_nothing() -> None:
    """Away for 8 s, default isolation: no lease taken, no agent killed, each task settled once."""
    found = outage(8.0, 40)
    print(found)
    assert found.wrong == []
    assert found.ended_meanwhile == 20
