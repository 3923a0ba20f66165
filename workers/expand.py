"""A declaration with a task's inputs filled in: what to run, where, with which environment, and what to prove."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from proofq.policies import adapters, inputs, placeholders, redaction
from proofq.policies.agent import AgentSpec, Proof, Provider
from proofq.policies.failure import Failure
from proofq.workers import places
from proofq.workers.places import Places
from proofq.workers.record import Task

#: Variables of the worker that every agent gets.
COMMON: Final = ("PATH", "LANG", "TZ")
#: Variables that no agent gets, whatever its declaration passes on: they lead to Redis.
WITHHELD: Final = frozenset({"PROOFQ_REDIS_URL", "REDIS_URL"})


class Unfit(Exception):
    """The inputs do not fit the declaration; `failure` says why (bad_input)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.failure = Failure("bad_input", reason, phase="inputs")


@dataclass(frozen=True)
class Expanded:
    """One attempt of one task, ready to be carried out. `inputs` hold the defaults of absent optional ones."""

    places: Places
    inputs: Mapping[str, object]
    argv: tuple[str, ...]
    cwd: str
    stdin: str | None
    proofs: tuple[Proof, ...]
    #: Makes `env`, which only who starts a process needs.
    make_env: Callable[[], Mapping[str, str]]

    @cached_property
    def env(self) -> Mapping[str, str]:
        """The environment of a process for it."""
        return self.make_env()


@dataclass(frozen=True)
class Expander:
    """Fills in declarations of the project at `root`; `environ` is the worker's environment."""

    root: Path
    state_dir: Path
    providers: Mapping[str, Provider]
    environ: Mapping[str, str]
    #: By task and attempt, for as long as somebody holds it: who performs an attempt and who proves it ask alike.
    _held: WeakValueDictionary[tuple[str, int], Expanded] = field(default_factory=WeakValueDictionary, repr=False)

    def expand(self, task: Task, spec: AgentSpec, repair: str | None = None) -> Expanded:
        """`Unfit` when the inputs break the schema, or a placeholder cannot take their values.

        `repair`: why the last attempt's output was refused; passed on as PROOFQ_REPAIR.
        """
        held = self._held.get((task.id, task.attempt))
        if held is None:
            held = self._held[task.id, task.attempt] = self._expand(task, spec, repair)
        return held

    def _expand(self, task: Task, spec: AgentSpec, repair: str | None) -> Expanded:
        problems = inputs.validate(spec.inputs_schema, task.inputs)
        if problems:
            raise Unfit("; ".join(problems))
        mine = places.of(self.state_dir, task.id, task.attempt)
        values = placeholders.values(
            spec.inputs_schema,
            task.inputs,
            task_id=task.id,
            attempt=task.attempt,
            workdir=mine.work,
            taskdir=mine.task,
            project=str(self.root),
        )
        try:
            natives = placeholders.natives(spec.inputs_schema, values)
            cwd = placeholders.expand(spec.cwd, values)
            own = {name: placeholders.expand(value, values) for name, value in spec.env.items()}
            return Expanded(
                places=mine,
                inputs=inputs.complete(spec.inputs_schema, task.inputs),
                argv=placeholders.expand_command(spec.command, values) if spec.command else (),
                cwd=cwd if cwd == mine.work else str(mine.workdir / cwd),
                stdin=None if spec.stdin is None else placeholders.expand(spec.stdin, values),
                proofs=tuple(
                    Proof(proof.kind, placeholders.expand_options(proof.options, values, natives), proof.must_change)
                    for proof in spec.proofs
                ),
                make_env=lambda: self._env(task, spec, mine, repair) | own,
            )
        except placeholders.PlaceholderProblem as problem:
            raise Unfit(str(problem)) from problem

    def secrets(self, spec: AgentSpec) -> tuple[str, ...]:
        """What of the agent's environment must be kept nowhere: the key of its provider, as it may be spelled."""
        provider = self.providers.get(spec.provider or "")
        key_env = provider.key_env if provider else None
        return redaction.spellings(self.environ.get(key_env, "")) if key_env else ()

    def _env(self, task: Task, spec: AgentSpec, mine: Places, repair: str | None) -> dict[str, str]:
        provider = self.providers.get(spec.provider or "")
        key_env = provider.key_env if provider else None
        wanted = [*COMMON, *spec.pass_env, *([key_env] if key_env else [])]
        passed = {name: self.environ[name] for name in wanted if name in self.environ and name not in WITHHELD}
        # No program can be given a NUL.
        told = {} if repair is None else {"PROOFQ_REPAIR": repair.replace("\0", "\ufffd")}
        return {**adapters.of(spec.adapter).env, **passed, **told} | {
            "HOME": mine.home,
            "TMPDIR": mine.tmp,
            "PROOFQ_TASK_ID": task.id,
            "PROOFQ_ATTEMPT": str(task.attempt),
        }
