"""Every error proofq raises for a user to see.

    Error                  1   something proofq can name went wrong
    ├── BadInput           2   inputs or settings that do not fit what was declared
    ├── DeclarationError   2   an agent, proof or setting declared wrongly; says file and line
    ├── UnknownAgent       2   no declaration and no catalogue knows the agent
    ├── KeyConflict        2   the idempotency key is taken by other inputs
    ├── NotBuilt           2   named by the contract, not built yet
    ├── RedisUnavailable   7   Redis is not reachable, or is one we refuse to use
    │   └── NoAnswer       7   the worker did not answer an attempt in time
    ├── LeaseLost          1   an attempt acts for a task that is not its own any more
    ├── EffectUnknown      1   `ctx.once`: it was begun, and nobody knows whether it was done
    ├── BudgetReached      1   nothing is left of a budget: what was to be spent must not be
    ├── ErrorInside        1   `ctx.call`: the provider answered with an error inside a 200; carries `.answer`
    ├── NotDone            1   raised in `ctx.once`: nothing was done, it may be tried again
    ├── OtherLayout        2   what Redis holds is laid out for another version of proofq
    ├── UnknownTask        1   no task has this id
    ├── UnknownIncident    1   no incident has this id
    ├── Refused            1   an act the table of transitions does not allow
    ├── TaskFailed         1   the task waited for ended without success; carries `.task`
    └── NotProven          1   raised by a proof: the world does not show what was claimed

The number is `exit_code`, with which a command ends; `kind` is the error's word in `--json`. A message is a
sentence that says what to do; it never carries a password.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final


class Error(Exception):
    """Root of the tree above; catching it catches everything proofq raises on purpose."""

    #: The word in `{"error": {"kind": ...}}`; fixed, scripts rely on it.
    kind: ClassVar[str] = "error"
    #: Exit code of a command that ends with this error.
    exit_code: ClassVar[int] = 1


class BadInput(Error):
    """Inputs or settings do not fit the declaration. Nothing was enqueued."""

    kind = "bad_input"
    exit_code = 2


class DeclarationError(Error):
    """An agent, proof or setting is declared wrongly. The message says where."""

    kind = "declaration"
    exit_code = 2


class UnknownAgent(Error):
    """Neither proofq.toml nor any published catalogue knows the agent. The message names the nearest."""

    kind = "unknown_agent"
    exit_code = 2


class KeyConflict(Error):
    """The idempotency key already names a task of this agent with other inputs."""

    kind = "key_conflict"
    exit_code = 2


class NotBuilt(Error):
    """The contract names it, but this version does not have it; refused rather than ignored."""

    kind = "not_built"
    exit_code = 2


class RedisUnavailable(Error):
    """Redis does not answer, cannot be started, or is one that proofq refuses to use."""

    kind = "redis_unavailable"
    exit_code = 7


class NoAnswer(RedisUnavailable):
    """The worker did not answer what an attempt asked, in the time it was given."""

    kind = "no_answer"


class LeaseLost(Error):
    """The attempt does not hold its task any more, or is being stopped: nothing it asks for is done."""

    kind = "lease_lost"


class EffectUnknown(Error):
    """An effect was begun under this key, and nobody knows whether it was done; it is not done again.

    Its task is held until a human has said what is true; give `ctx.once` a `check`, and it finds out by itself.
    """

    kind = "effect_unknown"


class BudgetReached(Error):
    """Nothing is left of a budget of the task, its agent or its provider: what was to be spent must not be.

    Let it end the attempt: its task is held until the budget is raised, a new window begins, or it is replayed.
    """

    kind = "budget_reached"


class ErrorInside(Error):
    """Raised by `ctx.call`: a provider's answer of status 200 is an error, which the function that asked handed on.

    `.answer` is what the function gave; `.failure` what it stands for, which is the attempt's unless it is caught.
    """

    kind = "error_inside"

    def __init__(self, provider: str, failure: Any, answer: object) -> None:
        super().__init__(f"{provider} answered with {failure.kind} inside a success: {failure.reason}")
        self.failure = failure
        self.answer = answer


class NotDone(Error):
    """Raised by what `ctx.once` calls: it is certain that nothing was done, so that it may be tried again.

    Raise it `from` the error that says why: that one's class is the attempt's.
    """

    kind = "not_done"


class OtherLayout(Error):
    """What Redis holds is laid out for another version of proofq. Nothing was written."""

    kind = "other_layout"
    exit_code = 2


class UnknownTask(Error):
    """No task has this id (any more)."""

    kind = "unknown_task"


class UnknownIncident(Error):
    """No incident has this id (any more)."""

    kind = "unknown_incident"


class Refused(Error):
    """The table of transitions does not allow this act on a task in its present state."""

    kind = "refused"


class TaskFailed(Error):
    """The task waited for is terminal and is no success.

    `task` is the proofq.Task as it was when it was seen terminal: its `failure` and `verdict` say why.
    """

    kind = "task_failed"

    def __init__(self, message: str, task: Any) -> None:
        super().__init__(message)
        self.task = task


class NotProven(Error):
    """Raised by a `python` proof that looked and found it not so. Any other error there is "cannot tell"."""

    kind = "not_proven"


def answered_with(kind: str, message: str) -> Error:
    """The error that crossed from a worker to an attempt as its `kind` and message; Error for a kind nobody knows."""
    return next((each(message) for each in _PLAIN if each.kind == kind), Error(message))


#: Those that are made of a message alone.
_PLAIN: Final = (BadInput, RedisUnavailable, LeaseLost, BudgetReached, Refused, UnknownTask)
