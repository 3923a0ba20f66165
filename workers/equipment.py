"""What one process is given before it is asked for: its descriptors here and there, and the message about it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from proofq.workers.fork import memory_file
from proofq.workers.output import Capture, Streams, both_ways, pipe
from proofq.workers.report import ReportReader

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import ExitStack

    from proofq.workers.spawner import SpawnRequest


def open_all(
    request: SpawnRequest, devnull: int, passed: ExitStack, undo: ExitStack
) -> tuple[Streams, dict[str, int], dict[int, int]]:
    """Open everything for one process: the captures, what is read here by name, what the child gets by number.

    `devnull` stays the caller's. `passed` closes what is only the child's once it has been sent, `undo` the rest if
    that never happens.
    """
    captures = []
    for path, keep in ((request.stdout, request.keep_stdout), (request.stderr, False)):
        capture = Capture(path, request.output_cap_bytes, keep=keep, secrets=request.secrets)
        undo.callback(capture.close)
        captures.append(capture)
    streams = Streams(captures[0], captures[1], ReportReader(silent=request.kind != "function"))
    streams.on_stdout = request.on_stdout
    reading: dict[str, int] = {}
    writing: dict[str, int] = {}
    for name in ("stdout", "stderr", "report"):
        # What a function says on its report may be a question: its answer goes the other way.
        talks = name == "report" and request.on_ask is not None
        reading[name], writing[name] = both_ways() if talks else pipe()
        undo.callback(os.close, reading[name])
        passed.callback(os.close, writing[name])
    given = {
        0: devnull if request.stdin is None else passed.enter_context(memory_file(request.stdin)),
        1: writing["stdout"],
        2: writing["stderr"],
        **request.fds,
    }
    given[len(given)] = writing["report"]
    if request.kind == "function":
        text = json.dumps(request.payload or {}, allow_nan=False).encode("ascii")
        given[len(given)] = passed.enter_context(memory_file(text))
    return streams, reading, given


def spawn_message(sid: int, request: SpawnRequest, given: Mapping[int, int]) -> dict[str, Any]:
    """What the forkserver is told about one process; `given` as `open_all` made it, sent in this order."""
    report = 3 + len(request.fds)
    reuse = {} if request.reuse is None else {"reuse": list(request.reuse)}
    return {
        "type": "spawn",
        "sid": sid,
        "kind": request.kind,
        "env": dict(request.env),
        "cwd": request.cwd,
        "argv": list(request.argv),
        "runner": request.runner,
        "targets": list(given),
        "report": report,
        "payload": report + 1 if request.kind == "function" else None,
        "ticks": request.ticks,
        **reuse,
    }
