"""The settings of a worker: defaults < proofq.toml [worker] < PROOFQ_* variables < options of the command."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from proofq.policies import incident_rules, retention
from proofq.policies.incident_rules import Rules
from proofq.policies.retention import Retention
from proofq.workers import statedir
from proofq.workers.errors import BadInput, DeclarationError, Error

#: More slots than this is a mistake: most attempts are at least one process.
MAX_SLOTS = 4096
MAX_SUPERVISORS = 64
MAX_COUNT = 1_000_000
#: Ten years, as for the times of an agent.
MAX_SECONDS = 315_360_000.0
#: An owner steps back 10 s before it loses its leases, and needs two seconds in which it may work.
MIN_ISOLATION_S = 12.0
#: Settings that may not be as short as 0 s. A loop is looked at four times a second.
_LEAST_S = {"isolation_s": MIN_ISOLATION_S, "loop_blocked_s": 1.0}

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True)
class Settings:
    """What `proofq worker` goes by. Names ending in `_s` are seconds."""

    #: Where everything of the project lives that is not in Redis (absolute). Set by PROOFQ_STATE_DIR alone.
    state_dir: Path
    #: Attempts at a time in the work lane, 1 or more.
    slots: int = 8
    #: The same for the meta lane; 0 starts none.
    meta_slots: int = 1
    #: Supervisors that share the slots of a lane, each with a forkserver and a verifier of its own. One is enough for
    #: agents that run for seconds; each further one costs some 100 MiB.
    supervisors: int = 1
    #: A silent owner loses its leases after this; it stops its own agents 10 s before. At least 12.
    isolation_s: float = 90.0
    #: What running attempts get to end by themselves after TERM.
    drain_s: float = 30.0
    #: How often a task may be leased without ever running.
    max_pickups: int = 5
    #: How many owners a task may lose.
    max_deaths: int = 3
    #: How many crashes of one fingerprint a task may have.
    max_equal_crashes: int = 2
    #: The longest wait that a provider may ask for and a task still waits by itself; beyond it the task is held.
    max_wait_s: float = 3600.0
    #: How long one step of an async attempt may keep the loop that it shares from turning.
    loop_blocked_s: float = 10.0
    #: MiB that the folders of all tasks may take on a worker's host; 0 for no bound. Past it those of ended tasks go,
    #: the oldest first, and where that is not enough nothing more is leased.
    disk_quota_mib: int = 0
    #: What is kept of ended tasks: the table [retention].
    retention: Retention = field(default_factory=Retention)
    #: When equal failures become an incident, and who is told: the table [incidents].
    incidents: Rules = field(default_factory=Rules)


def resolve(
    root: Path,
    table: Mapping[str, Any],
    environ: Mapping[str, str],
    options: Mapping[str, object] | None = None,
    source_of: Callable[[str], str] = lambda key: f"proofq.toml: [worker] {key}",
) -> Settings:
    """Give the settings of the project at `root`.

    `table` is [worker] of proofq.toml and `source_of(key)` says where a key of it stands ("proofq.toml:5"); `options`
    are those of the command, by the same names, None meaning not given. A variable that is set but empty is not set.
    Raises DeclarationError for a bad key or value of the table, BadInput for one of a variable or an option.
    """
    known = [each.name for each in fields(Settings) if each.name not in ("state_dir", "retention", "incidents")]
    for key in table:
        if key not in known:
            raise DeclarationError(f"{source_of(key)}: unknown key {key!r} of [worker]; known are {', '.join(known)}")
    found: dict[str, float | int] = {}
    for name in known:
        variable = f"PROOFQ_{name.upper()}"
        option = (options or {}).get(name)
        if option is not None:
            found[name] = _checked(name, option, f"--{name.replace('_', '-')}", BadInput)
        elif environ.get(variable):
            found[name] = _checked(name, _number(environ[variable]), variable, BadInput)
        elif name in table:
            found[name] = _checked(name, table[name], source_of(name), DeclarationError)
    return Settings(state_dir=statedir.locate(root, environ), **cast("dict[str, Any]", found))


def resolve_retention(
    table: Mapping[str, Any], environ: Mapping[str, str], source_of: Callable[[str], str]
) -> Retention:
    """Give [retention]: defaults, then the table, then PROOFQ_RETENTION_*. Raises DeclarationError, BadInput."""
    return Retention(**_resolved("RETENTION", retention.NAMES, retention.problem, table, environ, source_of))


def resolve_incidents(table: Mapping[str, Any], environ: Mapping[str, str], source_of: Callable[[str], str]) -> Rules:
    """Give [incidents]: defaults, then the table, then PROOFQ_INCIDENTS_*. Raises DeclarationError, BadInput."""
    return Rules(**_resolved("INCIDENTS", incident_rules.NAMES, incident_rules.problem, table, environ, source_of))


def _resolved(
    prefix: str,
    names: Sequence[str],
    problem: Callable[[str, object], str | None],
    table: Mapping[str, Any],
    environ: Mapping[str, str],
    source_of: Callable[[str], str],
) -> dict[str, Any]:
    """The values of a table that a policy describes: `problem` says what is wrong with one of them."""
    found: dict[str, Any] = {}
    for name in table:
        if (wrong := problem(name, table[name])) is not None:
            raise DeclarationError(f"{source_of(name)}: {wrong}")
        found[name] = table[name]
    for name in names:
        variable = f"PROOFQ_{prefix}_{name.upper()}"
        if environ.get(variable):
            found[name] = _number(environ[variable])
            if (wrong := problem(name, found[name])) is not None:
                raise BadInput(f"{variable}: {wrong}")
    return found


def _checked(name: str, value: object, source: str, error: type[Error]) -> float | int:
    """Give a value back as the setting's type, or raise `error` with where it was said and what it may be."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise error(f"{source}: {name} is {value!r:.80}; it is {_wanted(name)}")
    low, high = _bounds(name)
    whole = not name.endswith("_s")
    if not low <= value <= high or (whole and not isinstance(value, int)):  # NaN is within no bounds
        raise error(f"{source}: {name} is {value!r:.80}; it is {_wanted(name)}")
    return value if whole else float(value)


def _wanted(name: str) -> str:
    low, high = _bounds(name)
    kind = "a number of seconds" if name.endswith("_s") else "a whole number"
    return f"{kind} from {low:g} to {high:.0f}"


def _bounds(name: str) -> tuple[float, float]:
    if name.endswith("_s"):
        return _LEAST_S.get(name, 0.0), MAX_SECONDS
    if name in ("slots", "meta_slots"):
        return (1 if name == "slots" else 0), MAX_SLOTS
    if name == "supervisors":
        return 1, MAX_SUPERVISORS
    return (0 if name == "disk_quota_mib" else 1), MAX_COUNT


def _number(text: str) -> object:
    """Give the number a variable means; text that is none stays text and is refused with the rest."""
    if _WHOLE.fullmatch(text.strip()):
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text
