"""`@proofq.agent`: a Python function becomes a declared agent. Importing a module is what declares its agents."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypedDict, TypeVar, Unpack, overload

from proofq.policies import async_agents, declaration, input_schema, inputs
from proofq.policies.agent import AgentSpec, DeclarationProblem, Proof
from proofq.workers import modules
from proofq.workers.errors import BadInput, DeclarationError

if TYPE_CHECKING:
    from proofq.workers.api import Task

_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
P = ParamSpec("P")
R = TypeVar("R")


class Options(TypedDict, total=False):
    """What `@proofq.agent(...)` takes: the keys of [agents.x] that a function agent has. Times may be timedeltas."""

    name: str
    lane: str
    provider: str
    timeout_s: float | timedelta
    stall_after_s: float | timedelta
    max_attempts: int
    max_age_s: float | timedelta
    cwd: str
    env: Mapping[str, str]
    pass_env: Sequence[str]
    proofs: Sequence[Proof | Mapping[str, Any]]
    look_first: bool
    must_call: Sequence[str]
    reuse: int
    max_running: int
    rate: Mapping[str, float | timedelta]
    weight: int
    unproven: bool
    verify_wait_s: float | timedelta
    proof_timeout_s: float | timedelta
    unique_for_s: float | timedelta


class Agent(Generic[P, R]):
    """A declared function agent. Calling it calls the function, in this process and without a task."""

    def __init__(self, function: Callable[P, R], spec: AgentSpec) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.spec = spec

    @property
    def name(self) -> str:
        """Name of the agent, as the queue and every command know it."""
        return self.spec.name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<proofq agent {self.name} ({self.spec.source})>"

    def enqueue(self, /, **inputs: Any) -> Task:
        """Enqueue a task with these inputs; give the proofq.Task. Raises as proofq.enqueue does."""
        return Call(self).enqueue(**inputs)

    def options(
        self,
        *,
        key: str | None = None,
        not_before: datetime | str | None = None,
        after: Sequence[str] = (),
        max_age_s: float | timedelta | None = None,
    ) -> Call:
        """Give the agent with options for its next `.enqueue`; they mean what they mean in proofq.enqueue."""
        return Call(self, {"key": key, "not_before": not_before, "after": after, "max_age_s": max_age_s})


class Call:
    """An agent with the options of one enqueue."""

    def __init__(self, agent: Agent[..., Any], options: Mapping[str, Any] | None = None) -> None:
        self._agent = agent
        self._options = dict(options or {})

    def enqueue(self, /, **given: Any) -> Task:
        """Enqueue a task with these inputs; give the proofq.Task."""
        problems = inputs.validate(self._agent.spec.inputs_schema, given)
        if problems:
            raise BadInput(f"{self._agent.name}: {'; '.join(problems)}")
        from proofq.workers import api  # needs Redis; declaring needs none

        return api.enqueue(self._agent.name, given, **self._options)


#: Every agent declared in this process, in order. Modules that are run twice are in it twice.
_declared: list[Agent[..., Any]] = []


@overload
def agent(function: Callable[P, R], /) -> Agent[P, R]: ...
@overload
def agent(**options: Unpack[Options]) -> Callable[[Callable[P, R]], Agent[P, R]]: ...
def agent(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Declare a function as an agent: `@proofq.agent(timeout_s=60, proofs=[proofq.proofs.file("{out}")])`.

    The function's first parameter is `ctx`; the others are its inputs, by name, checked from their annotations. Its
    name is the agent's, unless `name` is given. Raises DeclarationError with file and line.
    """
    if function is not None:
        return _declare(function, options)
    return functools.partial(_declare, options=options)


def declared() -> list[Agent[..., Any]]:
    """Give every agent declared in this process so far, in order."""
    return list(_declared)


def known(name: str) -> AgentSpec | None:
    """Give the spec of the agent of this name declared last in this process; None when there is none."""
    return next((each.spec for each in reversed(_declared) if each.name == name), None)


def _declare(function: Callable[P, R], options: Mapping[str, Any]) -> Agent[P, R]:
    if not inspect.isfunction(function):
        raise DeclarationError(f"@proofq.agent declares functions, not {function!r:.80}; put it on a def.")
    source = f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"
    raw = {"name": function.__name__, **options, "function": modules.reference(function)}
    try:
        if "inputs_schema" in options or "function" in options:
            raise DeclarationProblem("the inputs of a function agent are its parameters; annotate them")
        spec = declaration.check(raw, source, _inputs_schema(function))
        if inspect.iscoroutinefunction(function):
            spec = async_agents.shared(spec)
    except DeclarationProblem as problem:
        message = problem.message if problem.source else f"agent {raw['name']}: {problem.message}"
        raise DeclarationError(f"{source}: {message}") from problem
    found: Agent[P, R] = Agent(function, spec)
    _declared.append(found)
    return found


def _inputs_schema(function: types.FunctionType) -> dict[str, Any]:
    """Give the schema of the parameters after ctx. Raises DeclarationProblem."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DeclarationProblem("it yields, and calling it would run nothing; return its result instead")
    given = list(inspect.signature(function).parameters.values())
    if not given or given[0].name != "ctx" or given[0].kind not in _BY_PLACE:
        raise DeclarationProblem(f"its first parameter must be ctx: def {function.__name__}(ctx, ...)")
    parameters = given[1:]
    names = {each.name for each in parameters}
    annotations = {name: each for name, each in inspect.get_annotations(function).items() if name in names}
    holder = types.SimpleNamespace(__annotations__=annotations)
    try:
        hints = typing.get_type_hints(holder, globalns=function.__globals__, include_extras=True)
    except Exception as error:  # whatever evaluating a user's annotation raises
        raise DeclarationProblem(f"an annotation cannot be read: {type(error).__name__}: {error}") from error
    return input_schema.from_parameters(parameters, hints)
