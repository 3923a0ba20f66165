"""Starts a worker: this process becomes its launcher, with supervisors for work and for meta."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from proofq.workers import clock, host, launcher, logs
from proofq.workers.interpreter import fresh_interpreter
from proofq.workers.launcher import LaneCommand
from proofq.workers.project import Project
from proofq.workers.shares import Share, shares


def worker_name() -> str:
    """A new name: the host and a few random digits; letters, digits, `_`, `-` and `.` only."""
    return f"{host.host_name()}-{clock.SystemClock().token()}"


def run(
    mine: Project,
    url: str,
    *,
    lanes: Mapping[str, int],
    options: Mapping[str, Any],
    burst: bool = False,
    name: str = "",
    queues: Sequence[str] = (),
) -> int:
    """Runs until drained, or until a burst is done; returns the exit code.

    `name`: default a new one. `queues`: those to serve, default those of every agent that the project declares.

    `lanes`: slots by lane; one with 0 slots is not started. `options` are settings of the command line, which win over
    those of the project. `url` leads to Redis; an embedded one must be running already, since everything that is
    started from here on ends with this process.
    """
    logs.to_stderr()
    post = ["--name", name or worker_name(), "--queues", " ".join(queues)]
    env = {**os.environ, "PROOFQ_REDIS_URL": url}
    if mine.config_path is not None:
        # A relative one would be looked for from the lane's own place.
        env["PROOFQ_CONFIG"] = str(mine.config_path)
    commands = [
        LaneCommand(lane, _argv(mine, post, lane, share, options, burst), env)
        for lane, slots in lanes.items()
        for share in shares(slots, mine.settings.supervisors)
    ]
    return launcher.launch(commands, burst=burst)


def _argv(
    mine: Project, post: Sequence[str], lane: str, share: Share, options: Mapping[str, Any], burst: bool
) -> list[str]:
    argv = [
        *fresh_interpreter("proofq.workers.serve"),
        "--root", str(mine.root), *post, "--lane", lane,
        "--slots", str(share.count), "--first-slot", str(share.first),
        "--settings", json.dumps(dict(options)),
    ]  # fmt: skip
    return [*argv, "--burst"] if burst else argv
