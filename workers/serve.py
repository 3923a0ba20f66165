"""`python -m proofq.workers.serve`: a supervisor's process, put together and run.

The launcher starts it with its post and the settings on the command line, the Redis URL in PROOFQ_REDIS_URL, and the
reading end of its lifeline pipe. Exit codes: see supervisor.py; 2 for a project that cannot be served.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from proofq.policies.agent import AgentSpec
from proofq.policies.failure import Failure
from proofq.workers import bury, calls, connection, describe, effects, guard, keys, logs, proctree, project
from proofq.workers import host as hosts
from proofq.workers import perform as performing
from proofq.workers.answering import Answering
from proofq.workers.async_hosts import AsyncHosts
from proofq.workers.async_perform import AsyncPerformer
from proofq.workers.attempt import AttemptFailed
from proofq.workers.clock import SystemClock, WorkerClock
from proofq.workers.errors import BadInput, Error
from proofq.workers.expand import WITHHELD, Expander
from proofq.workers.forkserver import Config
from proofq.workers.gate_keys import GateKeys
from proofq.workers.guard import OwnerMarker
from proofq.workers.preload import Preload
from proofq.workers.prove import LocalProver
from proofq.workers.record import Task, parse_attempts
from proofq.workers.scripts import RedisRunner
from proofq.workers.shares import Share
from proofq.workers.spawner import Spawner, SpawnRequest
from proofq.workers.spending import Spending
from proofq.workers.store import Store
from proofq.workers.supervisor import Hands, Post, Supervisor
from proofq.workers.verify import Verifier

log = logging.getLogger(__name__)

_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})

#: Seconds after which an attempt is tried again that may not start beside a process of an earlier one.
ALIVE_AGAIN_S = 5.0

#: Children forked ahead of their attempts, at most: more are only wanted where several leases come at once.
MAX_STANDBY = 4


def main() -> int:
    options = _options()
    logs.to_stderr()
    try:
        return _serve(options)
    except Error as problem:
        log.error("cannot_serve: %s", problem)
        return problem.exit_code


def _serve(options: argparse.Namespace) -> int:
    # Before any thread: a thread of their own takes these two. The forkserver ignores them, its children start afresh.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    mine = project.load(Path(options.root), options=json.loads(options.settings))
    clock, url, owner_id = WorkerClock(), os.environ["PROOFQ_REDIS_URL"], SystemClock().name()
    guards_lost: list[str] = []
    supervisor: Supervisor | None = None

    def on_guard_lost(why: str) -> None:
        guards_lost.append(why)
        if supervisor is not None:
            supervisor.on_guard_lost(why)

    def hear_signals() -> None:
        while True:
            signal.sigwait(_STOP_SIGNALS)
            if supervisor is None:
                # Still coming up: nothing is leased that would have to be given back, and the forkserver follows.
                os._exit(0)
            supervisor.on_term()

    threading.Thread(target=hear_signals, name="signals", daemon=True).start()
    left = guard.sweep_abandoned()
    if left:
        log.error("survivors", extra={"pids": left})
    config = _forkserver_config(mine, url, owner_id, options.slots)
    spawner = Spawner(config, on_guard_lost, lifeline=options.lifeline_fd)
    spawner.start()
    try:
        client = connection.connect(url)
        store = Store(client, RedisRunner(client, own_connections=True), clock)
        agents = _served(_declared(spawner, mine.root), options.queues.split())
        share = Share(options.first_slot, options.slots)
        post = Post(options.name, options.lane, share, options.burst, os.getppid())
        supervisor = Supervisor(post, mine.settings, store, agents, _hands(spawner, mine, store, agents), owner_id)
        if guards_lost:
            supervisor.on_guard_lost(guards_lost[0])
        # What was loaded stays: without this a full collection stops every slot for some 50 ms to find that out again.
        gc.collect()
        gc.freeze()
        return supervisor.run()
    finally:
        spawner.close()


def _forkserver_config(mine: project.Project, url: str, owner_id: str, slots: int) -> Config:
    marker = OwnerMarker(owner_id, proctree.identity(os.getpid()))
    preload = Preload("proofq.workers.project:preload", mine.preload_argument(), (str(mine.root),))
    standby = min(slots, MAX_STANDBY)
    return Config(marker.text, preload, bury.MODULE, bury.argument(url, owner_id, hosts.host_id()), standby=standby)


def _declared(spawner: Spawner, root: Path) -> dict[str, AgentSpec]:
    """Asks a child, so that no module of the user's is ever imported beside the leases."""
    environ = {name: value for name, value in os.environ.items() if name not in WITHHELD}
    request = SpawnRequest(
        kind="function", runner=describe.FUNCTION, payload={"root": str(root)}, env=environ, cwd=str(root)
    )
    running = spawner.spawn(request)
    running.wait_ended(None)
    report: Mapping[str, Any] = running.ending().report or {}
    if not isinstance(report.get("result"), Mapping):
        raise Error(f"The agents of {root} could not be read: {running.output_tail()[-2000:] or report}")
    return {name: AgentSpec.from_dict(said) for name, said in report["result"].items()}


def _served(agents: dict[str, AgentSpec], queues: Collection[str]) -> dict[str, AgentSpec]:
    """The agents of these queues; all of them where none is named."""
    found = {keys.queue_of(spec.lane, name): (name, spec) for name, spec in agents.items()}
    if unknown := sorted(set(queues) - found.keys()):
        known = ", ".join(sorted(found)) or "none"
        raise BadInput(f"No agent of this project has the queue {' or '.join(unknown)}; it declares {known}.")
    return dict(found[queue] for queue in found if not queues or queue in queues)


def _hands(spawner: Spawner, mine: project.Project, store: Store, agents: Mapping[str, AgentSpec]) -> Hands:
    root = str(mine.root)
    expander = Expander(mine.root, mine.state_dir, mine.providers, os.environ)
    verifier = Verifier(
        hosts.host_name(),
        partial(performing.start_verifier, spawner, root),
        partial(performing.run_python_proof, spawner, root),
        partial(performing.run_command_proof, spawner),
    )
    if any(spec.proofs for spec in agents.values()):
        verifier.warm_up()
    end_earlier = partial(_end_earlier, store, hosts.LocalHost(), spawner.forkserver.pid)
    passed = GateKeys.of(mine.providers, agents, os.environ)

    def secrets(agent: str) -> Collection[str]:
        return expander.secrets(agents[agent])

    once = effects.Desk(store, secrets)
    spending = Spending(store, agents, {name: one.budget for name, one in mine.providers.items()})
    asked = {**once.handlers(), **calls.Desk(store, passed, secrets).handlers(), **spending.handlers()}
    answering = Answering(asked, SystemClock())
    local = performing.LocalPerformer(spawner, expander, end_earlier, answering)
    shared = AsyncHosts(spawner, mine.state_dir / "async", SystemClock(), mine.settings.loop_blocked_s)
    end_lost = partial(end_earlier, lost=True, spare=shared.pids)
    performer = AsyncPerformer(local, shared, expander, end_lost, answering, store.clock)

    def close() -> None:
        answering.close()
        verifier.close()
        spawner.close()
        shared.close()

    return Hands(
        spawner.forkserver.pid,
        performer,
        LocalProver(verifier, expander),
        lambda: spawner.usable,
        close,
        expander.secrets,
        answering,
        passed,
        spending,
    )


def _end_earlier(
    store: Store,
    here: hosts.LocalHost,
    forkserver: int,
    task: Task,
    *,
    lost: bool = False,
    spare: Collection[int] = (),
) -> None:
    """No attempt starts on this host while a process of an earlier one lives here; AttemptFailed (infrastructure) while
    one will not die. `lost`: only where nobody saw the
    attempt end, since its process may be other attempts', too; as of every record that says so itself."""
    for record in parse_attempts(store.client.hgetall(keys.attempts(task.id))):
        shared = lost or bool(record.get("shared"))
        if (shared and record.get("outcome") != "lost") or record.get("pid") in spare:
            continue
        if shared and proctree.is_child(record.get("pid"), forkserver):
            # Our performer has ended that attempt, if no slot of ours had: what the process does now is another one's.
            continue
        if record.get("host") == hosts.host_name() and record.get("pid") and record["n"] < task.attempt:
            try:
                here.kill_attempt(int(record["pid"]), int(record["start_ticks"]))
            except hosts.StillAlive as problem:
                waits = Failure(
                    "infrastructure", str(problem), source="host", phase="start", retry_after_s=ALIVE_AGAIN_S
                )
                raise AttemptFailed(waits) from problem


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m proofq.workers.serve", description=__doc__)
    parser.add_argument("--root", required=True, help="folder of the project")
    parser.add_argument("--name", required=True, help="name of the worker")
    parser.add_argument("--lane", required=True)
    parser.add_argument("--queues", default="", help="queues to serve, separated by spaces; default all of the project")
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--first-slot", type=int, default=0, help="number of the first of them within the lane")
    parser.add_argument("--settings", required=True, help="settings given on the command line, as JSON")
    parser.add_argument("--lifeline-fd", type=int, required=True)
    parser.add_argument("--burst", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
