"""What an agent declares: its inputs, its proofs, its limits; and the provider it depends on. Data only.

`policies.declaration.check` builds these from what a user wrote; all of it is checked. Durations
are seconds. `to_dict` and `from_dict` are the plain JSON that the catalogue and the child processes carry.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from proofq.policies.budget import Budget
from proofq.policies.caps import Rate

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Any value JSON can carry. Not spelled out as a recursive union: every reader would have to narrow it again.
JSON: TypeAlias = Any

Kind = Literal["function", "command"]
Lane = Literal["work", "meta"]

#: Kinds for which a program of the user's runs.
RUN_KINDS = frozenset({"python", "command"})
#: Proofs that can only hold when the work is complete. A size or a substring also holds for half-done work, and a
#: record may have held its value long before.
COMPLETE_KINDS = frozenset({"json", "python", "command"})
COMPLETE_FILE_OPTIONS = frozenset({"sha256", "json_schema"})


class DeclarationProblem(ValueError):
    """A declaration is refused: `message` says what to do; `source` is "file:line", `key` its path."""

    def __init__(self, message: str, source: str = "", key: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.source = source
        self.key = key

    def __str__(self) -> str:
        """Give "file:line: message", or the message alone where no place is known."""
        return f"{self.source}: {self.message}" if self.source else self.message


@dataclass(frozen=True)
class Provider:
    """Something outside that agents depend on, an LLM API and its key, say."""

    name: str
    #: Name of the environment variable that holds the key; passed to the provider's agents. None: no key.
    key_env: str | None = None
    #: Seconds for which nothing is sent to it once it is failing; then one probe.
    cooldown_s: float = 30.0
    #: It is failing once so many calls were watched within so many seconds, and so large a part of them failed.
    min_calls: int = 5
    window_s: float = 60.0
    failure_rate: float = 0.5
    #: Calls of `ctx.call` that take longer count as failed ones; None: however long they take.
    slow_call_s: float | None = None
    #: Seconds after which a probe that has not ended keeps nobody waiting any more.
    probe_s: float = 60.0
    #: What all its agents together may spend.
    budget: tuple[Budget, ...] = ()
    #: How many attempts of all its agents may run at once, and begin within a time; None: any number.
    max_running: int | None = None
    rate: Rate | None = None

    def to_dict(self) -> dict[str, JSON]:
        """Give the plain JSON object that `from_dict` reads."""
        plain: dict[str, JSON] = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**plain, "budget": [one.to_dict() for one in self.budget], "rate": self.rate and self.rate.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, JSON]) -> Provider:
        """Read what `to_dict` gave; unknown keys of a newer writer are left out."""
        known = _known(cls, data)
        known["budget"] = tuple(Budget.from_dict(one) for one in known.get("budget", ()))
        known["rate"] = Rate.from_dict(known["rate"]) if known.get("rate") else None
        return cls(**known)


@dataclass(frozen=True)
class Proof:
    """A named check that re-reads the world. `options` hold placeholders; schemas from files are inlined."""

    kind: str
    options: Mapping[str, JSON] = field(default_factory=dict)
    #: The proof must not hold yet before the first attempt.
    must_change: bool = False

    @property
    def implies_completeness(self) -> bool:
        """True where half-done work cannot satisfy the proof, so that it may decide after an unknown end."""
        return self.kind in COMPLETE_KINDS or bool(COMPLETE_FILE_OPTIONS & self.options.keys())

    @property
    def is_quick(self) -> bool:
        """True where no program of the user's runs for it, so that its result mostly comes within milliseconds."""
        return self.kind not in RUN_KINDS

    def to_dict(self) -> dict[str, JSON]:
        """Give the plain JSON object that `from_dict` reads."""
        return {"kind": self.kind, "options": dict(self.options), "must_change": self.must_change}

    @classmethod
    def from_dict(cls, data: Mapping[str, JSON]) -> Proof:
        """Read what `to_dict` gave."""
        return cls(**_known(cls, data))


@dataclass(frozen=True)
class AgentSpec:
    """One declared agent. Defaults are those of the contract; durations are seconds."""

    name: str
    kind: Kind
    #: Where it was declared: "proofq.toml:12" or "file.py:30". Not part of the version.
    source: str = ""
    lane: Lane = "work"
    #: The argv template of a command agent; empty for a function agent.
    command: tuple[str, ...] = ()
    #: "module:qualname", or "relative/file.py:qualname", of a function agent; None for a command agent.
    function: str | None = None
    adapter: str = "generic"
    provider: str | None = None
    #: JSON Schema (2020-12 unless it says otherwise) of the inputs object.
    inputs_schema: Mapping[str, JSON] = field(default_factory=lambda: {"type": "object", "properties": {}})
    #: Wall time of one attempt.
    timeout_s: float = 3600.0
    stall_after_s: float | None = None
    #: Bound of the attempts that count.
    max_attempts: int = 3
    #: Age of a task, waits included, after which it is expired.
    max_age_s: float = 86400.0
    cwd: str = "{workdir}"
    env: Mapping[str, str] = field(default_factory=dict)
    #: Names of variables of the worker that are passed on where they are set.
    pass_env: tuple[str, ...] = ()
    #: Template of what a command reads; None is /dev/null.
    stdin: str | None = None
    proofs: tuple[Proof, ...] = ()
    look_first: bool = False
    unproven: bool = False
    #: Tasks of a function agent that may follow one another in a process; 0 and 1: each has one of its own.
    reuse: int = 0
    #: Steps of a function agent without which its claim is unverified.
    must_call: tuple[str, ...] = ()
    #: How long a proof that cannot tell is tried again before the task is held.
    verify_wait_s: float = 60.0
    #: Deadline of one run of one proof.
    proof_timeout_s: float = 20.0
    #: How long an idempotency key stays taken.
    unique_for_s: float = 86400.0
    #: What may be spent on one task and by all of them together.
    budget: tuple[Budget, ...] = ()
    #: How many of its attempts may run at once, and begin within a time; None: any number.
    max_running: int | None = None
    rate: Rate | None = None
    #: Its share of the slots where others wait, beside theirs.
    weight: int = 1
    #: Of a function agent: `async def`, whose attempts share a process.
    is_async: bool = False

    @property
    def version(self) -> str:
        """Digest of the declaration, 16 hex digits: equal wherever the same is declared.

        What is as it is when nobody says it is left out: a key that a newer version of proofq knows does not make
        another declaration of what does not use it.
        """
        default = AgentSpec(self.name, self.kind).to_dict()
        declared = {key: value for key, value in self.to_dict().items() if key != "source" and value != default[key]}
        declared |= {"name": self.name, "kind": self.kind}
        text = json.dumps(declared, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]

    def to_dict(self) -> dict[str, JSON]:
        """Give the plain JSON object that `from_dict` reads: lists for tuples, no `version`."""
        data: dict[str, JSON] = {each.name: getattr(self, each.name) for each in fields(self)}
        data["command"] = list(self.command)
        data["pass_env"] = list(self.pass_env)
        data["must_call"] = list(self.must_call)
        data["budget"] = [one.to_dict() for one in self.budget]
        data["rate"] = self.rate and self.rate.to_dict()
        data["env"] = dict(self.env)
        data["inputs_schema"] = dict(self.inputs_schema)
        data["proofs"] = [proof.to_dict() for proof in self.proofs]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, JSON]) -> AgentSpec:
        """Read what `to_dict` gave. Trusts its values; keys of a newer writer are left out."""
        known = _known(cls, data)
        known["command"] = tuple(known.get("command", ()))
        known["pass_env"] = tuple(known.get("pass_env", ()))
        known["must_call"] = tuple(known.get("must_call", ()))
        known["budget"] = tuple(Budget.from_dict(one) for one in known.get("budget", ()))
        known["rate"] = Rate.from_dict(known["rate"]) if known.get("rate") else None
        known["proofs"] = tuple(Proof.from_dict(proof) for proof in known.get("proofs", ()))
        return cls(**known)


def _known(cls: type[Any], data: Mapping[str, JSON]) -> dict[str, JSON]:
    names = {each.name for each in fields(cls)}
    return {key: value for key, value in data.items() if key in names}
