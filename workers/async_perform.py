"""Starts attempts of async agents in the hosts that they share; all others are left to who starts processes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from proofq.policies.agent import AgentSpec
from proofq.policies.failure import Failure
from proofq.policies.stall import Transcripts
from proofq.workers import file_baseline
from proofq.workers.answering import Answering
from proofq.workers.async_host import HostGone
from proofq.workers.async_hosts import AsyncHosts
from proofq.workers.async_running import AsyncRunning
from proofq.workers.attempt import AttemptFailed
from proofq.workers.clock import Clock
from proofq.workers.expand import Expander
from proofq.workers.file_baseline import Tick
from proofq.workers.host import host_name
from proofq.workers.life import AT_ONCE_S, Running, Wait
from proofq.workers.perform import LocalPerformer, Prepared, expanded_in_place
from proofq.workers.record import Task
from proofq.workers.spawner import SpawnFailed
from proofq.workers.wire import WireError

#: Variables of one attempt, which its host does not have.
_OF_ONE_ATTEMPT: Final = frozenset({"PROOFQ_TASK_ID", "PROOFQ_ATTEMPT", "PROOFQ_REPAIR"})
#: Hosts that may be replaced for what others did, before an attempt that is about to start waits for a better time.
_TRIES: Final = 3


class AsyncPerformer:
    """The attempt's `Performer` for agents of every kind: `local` has those with a process of their own.

    `end_lost` kills what attempts of a task that were lost left on this host; `answering` answers what they ask.
    """

    def __init__(
        self,
        local: LocalPerformer,
        hosts: AsyncHosts,
        expander: Expander,
        end_lost: Callable[[Task], None],
        answering: Answering,
        clock: Clock,
    ) -> None:
        self._local = local
        self._hosts = hosts
        self._expander = expander
        self._end_lost = end_lost
        self._answering = answering
        self._clock = clock

    def prepare(self, task: Task, spec: AgentSpec, repair: str | None) -> Prepared:
        if not spec.is_async:
            return self._local.prepare(task, spec, repair)
        prepared = expanded_in_place(self._expander, task, spec, repair)
        if task.attempt > 1:
            self._end_lost(task)
        return prepared

    def start(
        self, prepared: Prepared, baseline: Mapping[str, Any], timeout_s: float
    ) -> Generator[Wait, bool, Running]:
        if not prepared.spec.is_async:
            return (yield from self._local.start(prepared, baseline, timeout_s))
        told = _told(prepared, file_baseline.ticks_of(baseline, host_name()))
        for _ in range(_TRIES):
            attempt = self._begin(prepared, told)
            if attempt is None:
                continue
            # Who ends at once is heard of once.
            yield Wait(attempt, self._clock.boottime() + AT_ONCE_S)
            if attempt.wait_started(timeout_s):
                return attempt
            attempt.kill("start_unconfirmed", 0.0)
            attempt.wait_ended(None)
            if not attempt.blameless:
                late = attempt.ending().killed_by == "start_unconfirmed"
                why = f"was not confirmed within {timeout_s:g} s" if late else "was not confirmed when its process died"
                why = f"its start {why}"
                raise AttemptFailed(Failure("start_unconfirmed", why, source="host", phase="start"))
        why = f"the process it would have shared was replaced {_TRIES} times before it started"
        raise AttemptFailed(Failure("infrastructure", why, source="host", phase="start"))

    def transcripts(self, prepared: Prepared) -> Transcripts:
        if not prepared.spec.is_async:
            return self._local.transcripts(prepared)
        return frozenset()

    def _begin(self, prepared: Prepared, told: Mapping[str, Any]) -> AsyncRunning | None:
        """Hand it to a host; None where that has just ended."""
        spec, places = prepared.spec, prepared.expanded.places
        secrets = self._expander.secrets(spec)

        def env() -> Mapping[str, str]:
            return {name: text for name, text in prepared.expanded.env.items() if name not in _OF_ONE_ATTEMPT}

        attempt = AsyncRunning(lambda: (places.stdout, places.stderr), secrets)
        try:
            # A suspect alone: should its process die, it is known whose doing it was.
            host = self._hosts.of(spec.name, env, secrets, single=prepared.task.trial)
            attempt.on_ask = partial(self._answering.take, prepared.task.fence, partial(host.answer, attempt))
            host.run(attempt, told)
        except HostGone:
            return None
        except (SpawnFailed, WireError) as problem:
            raise AttemptFailed(Failure("infrastructure", str(problem), source="host", phase="start")) from problem
        return attempt


def _told(prepared: Prepared, ticks: Sequence[Tick]) -> Mapping[str, Any]:
    task, places = prepared.task, prepared.expanded.places
    return {
        "inputs": dict(prepared.expanded.inputs),
        "task_id": task.id,
        "attempt": task.attempt,
        "workdir": places.work,
        "taskdir": places.task,
        "repair": prepared.repair,
        "ticks": ticks,
    }
