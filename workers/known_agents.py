"""What a producer knows of an agent without its code: from proofq.toml, else from what workers have published."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from proofq.policies import passing
from proofq.policies.agent import AgentSpec
from proofq.policies.declared import NAME
from proofq.policies.passing import Passing
from proofq.workers import declare, keys, project
from proofq.workers.errors import DeclarationError, UnknownAgent
from proofq.workers.scripts import DamagedKey
from proofq.workers.session import Session

#: Of an agent whose command nobody has told, the attempt alone checks what it is given.
NOTHING_KNOWN: Final = Passing()
#: How long a published declaration counts (30 days), in milliseconds.
CATALOGUE_MS: Final = 30 * 86_400_000


@dataclass(frozen=True)
class KnownAgent:
    """What enqueuing needs of an agent. `inputs_schema` is None for an undeclared one. Durations are seconds."""

    name: str
    lane: str = "work"
    inputs_schema: Mapping[str, Any] | None = None
    timeout_s: float = 3600.0
    max_attempts: int = 3
    max_age_s: float = 86400.0
    unique_for_s: float = 86400.0
    passing: Passing = NOTHING_KNOWN


def find(session: Session, name: str, *, undeclared: bool = False) -> KnownAgent:
    """The agent called `name`. With `undeclared` one that nobody knows is taken at its name.

    Raises UnknownAgent with the nearest names.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UnknownAgent(f"{name!r:.80} is no name of an agent; a name is 1 to 128 letters, digits, _ and -.")
    spec = session.project.agents.get(name)
    if spec is not None:
        return _of_spec(spec)
    published = _published(session)
    if name in published:
        return published[name]
    spec = declare.known(name)
    if spec is not None:
        return _of_spec(spec)
    imported, problem = _imported(session)
    if name in imported:
        return imported[name]
    if undeclared:
        return KnownAgent(name)
    raise UnknownAgent(_unknown(name, {*session.project.agents, *published, *imported}, problem))


def _of_spec(spec: AgentSpec) -> KnownAgent:
    return KnownAgent(
        spec.name, spec.lane, spec.inputs_schema, spec.timeout_s, spec.max_attempts, spec.max_age_s, spec.unique_for_s,
        passing.of_agent(spec),
    )  # fmt: skip


def _published(session: Session) -> dict[str, KnownAgent]:
    """Every agent of the catalogue that was published in the last 30 days."""
    return {name: _of_entry(name, entry) for name, entry in recent(session).items()}


def recent(session: Session) -> dict[str, dict[str, Any]]:
    """The entries of the catalogue that were published in the last 30 days, as their workers wrote them."""
    try:
        entries = session.store.catalogue()
    except ValueError as problem:
        raise DamagedKey(keys.CATALOGUE, "row that is no JSON") from problem
    oldest_s = (session.now_ms() - CATALOGUE_MS) / 1000 if entries else 0.0
    return {name: entry for name, entry in entries.items() if entry["published_at"] > oldest_s}


def _of_entry(name: str, entry: Mapping[str, Any]) -> KnownAgent:
    """An older worker may have said less than this version knows of."""
    default = KnownAgent(name)
    return KnownAgent(
        name=name,
        lane=entry["lane"],
        inputs_schema=entry["inputs_schema"],
        timeout_s=entry.get("timeout_s", default.timeout_s),
        max_attempts=entry.get("max_attempts", default.max_attempts),
        max_age_s=entry.get("max_age_s", default.max_age_s),
        unique_for_s=entry.get("unique_for_s", default.unique_for_s),
        passing=Passing.from_dict(entry.get("passing", {})),
    )


def _imported(session: Session) -> tuple[dict[str, KnownAgent], str]:
    """The agents of the project's modules, and why they could not be imported here.

    Only where nobody else knows the agent: no worker has published it yet, so this is a producer beside the agents'
    own code, before its first worker ever ran.
    """
    if not session.project.modules:
        return {}, ""
    try:
        found = project.load(session.project.root, import_modules=True)
    except DeclarationError as problem:
        return {}, str(problem)
    return {name: _of_spec(spec) for name, spec in found.agents.items()}, ""


def _unknown(name: str, known: Iterable[str], problem: str) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3)
    if near:
        hint = f"Did you mean {' or '.join(near)}?"
    elif names:
        hint = f"Known are {', '.join(names[:10])}{' and others' if len(names) > 10 else ''}."
    else:
        hint = "No agent is known here: is this the project's folder, and has one of its workers ever run?"
    if problem:
        hint += f" (The modules of proofq.toml cannot be imported here: {problem})"
    return f"Nobody declares an agent {name}. {hint} --undeclared (undeclared=True) enqueues it all the same."
