"""Starts what a declaration says, through the forkserver: agents, proofs of the user's, and the warm verifier."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from proofq.policies import adapters
from proofq.policies.agent import AgentSpec
from proofq.policies.exits import classify_start
from proofq.policies.failure import Failure
from proofq.policies.stall import Transcripts
from proofq.workers import file_baseline, transcripts
from proofq.workers.answering import Answering
from proofq.workers.attempt import AttemptFailed
from proofq.workers.child import RUN_AGENT, RUN_PROOF
from proofq.workers.expand import COMMON, Expanded, Expander, Unfit
from proofq.workers.file_baseline import Tick
from proofq.workers.host import host_name
from proofq.workers.killing import KILL_WITHIN_S
from proofq.workers.life import AT_ONCE_S, Wait
from proofq.workers.listener import Lines, Listener
from proofq.workers.performed import Performed
from proofq.workers.record import Task
from proofq.workers.running import Running
from proofq.workers.spawner import Spawner, SpawnFailed, SpawnRequest
from proofq.workers.warm import Started


@dataclass(frozen=True)
class Prepared:
    """What `start` needs of a task and its declaration."""

    task: Task
    spec: AgentSpec
    expanded: Expanded
    repair: str | None


def expanded_in_place(expander: Expander, task: Task, spec: AgentSpec, repair: str | None) -> Prepared:
    """The declaration with the task's inputs, and the folders that its process needs. Raises AttemptFailed."""
    try:
        expanded = expander.expand(task, spec, repair)
        if not spec.is_async:
            expanded.places.make()
        elif not all(proof.is_quick for proof in spec.proofs):
            # A program that proves begins there; all others make them once they are asked for.
            expanded.places.make_shared()
    except Unfit as problem:
        raise AttemptFailed(problem.failure) from problem
    except OSError as problem:
        reason = f"the attempt's folders cannot be made: {problem}"
        raise AttemptFailed(Failure("infrastructure", reason, source="host", phase="start")) from problem
    return Prepared(task, spec, expanded, repair)


class LocalPerformer:
    """The attempt's `Performer` on this host. `end_earlier` kills what an earlier attempt of a task left here;
    `answering` answers what attempts ask."""

    def __init__(
        self, spawner: Spawner, expander: Expander, end_earlier: Callable[[Task], None], answering: Answering
    ) -> None:
        self._spawner = spawner
        self._expander = expander
        self._end_earlier = end_earlier
        self._answering = answering
        #: By task, those that run in a process that others have after them.
        self._reusing: dict[str, Running] = {}

    def prepare(self, task: Task, spec: AgentSpec, repair: str | None) -> Prepared:
        prepared = expanded_in_place(self._expander, task, spec, repair)
        if task.attempt > 1:
            self._end_own(task)
            self._end_earlier(task)
        return prepared

    def start(
        self, prepared: Prepared, baseline: Mapping[str, Any], timeout_s: float
    ) -> Generator[Wait, bool, Performed]:
        adapter = adapters.of(prepared.spec.adapter)
        listener = None if adapter.live is None else Listener(adapter.live)
        secrets = self._expander.secrets(prepared.spec)
        home = prepared.expanded.env["HOME"]
        # The HOME is the task's: what an earlier attempt wrote down says nothing of this one's end.
        before = transcripts.look(home, adapter.transcripts)
        try:
            ticks = file_baseline.ticks_of(baseline, host_name())
            request = _request(prepared, listener, secrets, ticks, self._answering)
            begun = self._spawner.begin(request)
            if request.reuse is not None:
                self._reusing[prepared.task.id] = begun.running
                begun.running.when_ended(partial(self._forget, prepared.task.id))
            # Who ends at once is heard of once. In this thread: to park for so little costs more than it saves.
            begun.running.wait_ended(AT_ONCE_S)
            yield from ()  # a generator all the same, as the performers of agents that park are
            running = self._spawner.confirmed(begun)
        except SpawnFailed as problem:
            # The host could not make a process at all: nobody's task is to blame for that.
            raise AttemptFailed(Failure("infrastructure", str(problem), source="host", phase="start")) from problem
        if running.wait_started(timeout_s):
            if listener is not None:
                listener.attach(running.kill)
            written = partial(transcripts.newest_end, home, adapter.transcripts, before)
            return Performed(running, listener, written, secrets, shared=request.reuse is not None)
        running.kill("start_unconfirmed", 0.0)
        running.wait_ended(None)
        ended = running.ended
        if ended is not None and ended.start_error is not None:
            said = ended.start_error
            raise AttemptFailed(classify_start(said.errno, f"{said.step}: {os.strerror(said.errno)}"))
        if ended is not None and ended.killed_by != "start_unconfirmed":
            why = f"its process ended before its start was confirmed ({ended.killed_by or ended.exit_code})"
        else:
            why = f"its start was not confirmed within {timeout_s:g} s"
        raise AttemptFailed(Failure("start_unconfirmed", why, source="host", phase="start"))

    def _end_own(self, task: Task) -> None:
        """End what another slot of ours has not yet seen end, of a lease that was lost. By its pid nobody can:
        the process may be another attempt's by then."""
        earlier = self._reusing.get(task.id)
        if earlier is not None:
            earlier.kill("lost", 0.0)
            earlier.wait_ended(KILL_WITHIN_S)

    def _forget(self, task_id: str) -> None:
        self._reusing.pop(task_id, None)

    def transcripts(self, prepared: Prepared) -> Transcripts:
        return transcripts.look(prepared.expanded.env["HOME"], adapters.of(prepared.spec.adapter).transcripts)


def _request(
    prepared: Prepared, listener: Listener | None, secrets: Sequence[str], ticks: Sequence[Tick], answering: Answering
) -> SpawnRequest:
    task, spec, expanded = prepared.task, prepared.spec, prepared.expanded
    places = expanded.places
    common: dict[str, Any] = {
        "env": expanded.env,
        "cwd": expanded.cwd,
        "stdin": None if expanded.stdin is None else expanded.stdin.encode("utf-8"),
        "stdout": places.stdout,
        "stderr": places.stderr,
        "secrets": secrets,
        "ticks": ticks,
    }
    if spec.kind == "command":
        keep = adapters.of(spec.adapter).reads_stdout or any(proof.kind == "json" for proof in spec.proofs)
        heard = None if listener is None else Lines(listener.hear).feed
        return SpawnRequest(kind="command", argv=expanded.argv, keep_stdout=keep, on_stdout=heard, **common)
    payload = {
        "agent": spec.name,
        "inputs": dict(expanded.inputs),
        "task_id": task.id,
        "attempt": task.attempt,
        "workdir": places.work,
        "taskdir": places.task,
        "repair": prepared.repair,
    }
    # A task that did not end well may owe that to a neighbour of before: it is tried again in a process of its own.
    reuse = (spec.name, spec.reuse) if spec.reuse > 1 and task.attempt == 1 else None
    on_ask = partial(answering.take, task.fence)
    return SpawnRequest(kind="function", runner=RUN_AGENT, payload=payload, reuse=reuse, on_ask=on_ask, **common)


def start_verifier(spawner: Spawner, cwd: str) -> Started:
    """A warm verifier, as the pool of the verifier's client wants it."""
    ours, theirs = socket.socketpair()
    with theirs:
        argv = ("proofq.workers.verifier", "--fd", "3")
        environ = {name: os.environ[name] for name in COMMON if name in os.environ}
        request = SpawnRequest(kind="interpreter", argv=argv, env=environ, cwd=cwd, fds={3: theirs.fileno()})
        try:
            running = spawner.spawn(request)
        except SpawnFailed:
            ours.close()
            raise
    return Started(ours, partial(running.kill, "recycled", 0.0))


def run_command_proof(spawner: Spawner, argv: Sequence[str], cwd: str, timeout_s: float) -> Mapping[str, Any]:
    """One command that proves, in `cwd`; see `verify.CommandRunner`. It gets nothing that an agent could have written
    into: a HOME and TMPDIR of its own, which go with it, and no key."""
    with tempfile.TemporaryDirectory(prefix="proofq-proof-", ignore_cleanup_errors=True) as home:
        environ = {name: os.environ[name] for name in COMMON if name in os.environ}
        environ |= {"HOME": home, "TMPDIR": home, "PATH": _absolute_only(environ.get("PATH", os.defpath))}
        running = spawner.spawn(SpawnRequest(kind="command", argv=argv, env=environ, cwd=cwd))
        if not running.wait_ended(timeout_s):
            running.kill("timeout", 0.0)
            running.wait_ended(None)
            raise TimeoutError
    ended = running.ended
    if ended is not None and ended.start_error is not None:
        return {"error": f"it could not be started: {ended.start_error.step}: {os.strerror(ended.start_error.errno)}"}
    said = running.ending()
    if said.killed_by or said.exit_code is None:
        return {"error": f"it was killed ({said.killed_by or f'signal {said.signal}'})"}
    return {"exit_code": said.exit_code, "output_tail": said.output_tail}


def _absolute_only(path: str) -> str:
    """PATH without what is relative: there the agent could have put a program of its own."""
    return os.pathsep.join(folder for folder in path.split(os.pathsep) if folder.startswith("/")) or os.defpath


def run_python_proof(
    spawner: Spawner, project: str, function: str, facts: Mapping[str, Any], timeout_s: float
) -> Mapping[str, Any]:
    """One proof of the user's in a process of its own. TimeoutError at the deadline, the process killed."""
    environ = {name: os.environ[name] for name in COMMON if name in os.environ}
    payload = {"function": function, "facts": dict(facts), "project": project}
    request = SpawnRequest(kind="function", runner=RUN_PROOF, payload=payload, env=environ, cwd=project)
    running = spawner.spawn(request)
    if not running.wait_ended(timeout_s):
        running.kill("timeout", 0.0)
        running.wait_ended(None)
        raise TimeoutError
    said = running.ending()
    report = said.report or {}
    if isinstance(report.get("result"), Mapping):
        result: Mapping[str, Any] = report["result"]
        return result
    return {"error": f"its process ended without an answer (exit {said.exit_code}, signal {said.signal})"}
