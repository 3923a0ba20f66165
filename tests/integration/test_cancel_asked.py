"""A cancel that was asked while an attempt ran is never lost, however the attempt ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis

from proofq.policies import lifecycle
from proofq.policies.failure import Failure
from proofq.workers import known_agents, producer, session
from proofq.workers.door import Event
from proofq.workers.producer import Request
from tests.servers import PrivateServer
from tests.workbench import Bench

#: Ends of an attempt that would lead to another run, or to a wait.
ENDS: list[tuple[str, dict[str, Any]]] = [
    ("give_back", {}),
    ("lost", {"failure": Failure("lost_worker", "gone")}),
    ("failed", {"failure": Failure("network", "reset")}),
    ("failed", {"failure": Failure("auth", "refused")}),
    ("hold", {"failure": Failure("infrastructure", "cannot tell")}),
]


@pytest.mark.parametrize(("name", "facts"), ENDS, ids=[f"{name}-{n}" for n, (name, _) in enumerate(ENDS)])
def test_cancel_goes_before_another_run(
    tmp_path: Path, redis_server: PrivateServer, redis_client: redis.Redis, name: str, facts: dict[str, Any]
) -> None:
    """The holder has not heard of the cancel yet when its attempt ends: the task is cancelled all the same."""
    (tmp_path / "proofq.toml").write_text('[agents.a]\ncommand = ["true"]\nunproven = true\n')
    opened = session.open_session(tmp_path, {"PROOFQ_REDIS_URL": redis_server.url})
    bench = Bench(opened, "a")
    task_id = producer.enqueue(opened, known_agents.find(opened, "a"), {}, Request(), "test").id
    lease = bench.run(task_id)
    assert bench.door.apply(task_id, Event("cancel", "test", "enough")).event == "ask_cancel"
    settled = bench.door.settle(lease, Event(name, "bench", **facts))
    assert (settled.ok, settled.state, settled.event) == (True, lifecycle.CANCELLED, "cancel")
    events = [crumb.event for crumb in opened.store.snapshot(task_id).crumbs]
    assert events == ["enqueue", "lease", "start", "ask_cancel", "cancel"]
