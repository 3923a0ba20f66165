"""The texts of the Lua scripts, each with what it needs and no more: Redis makes all of it anew at each call.

A call of a script begins by making every function and table that stands before its own lines. Names of keys are
therefore put in as texts, not looked up in a table, and of the files that it shares a script gets what it uses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Final

from proofq.policies import gate, layout
from proofq.policies.agent import Provider
from proofq.policies.lifecycle import DEFERRED, NUMBERS, RQ_STATUS, SUCCESS, TABLE, TERMINAL
from proofq.workers import keys

#: The files whose functions a script may use beside those of common.lua, by their names. Each may use those before it.
PARTS: Final[Mapping[str, Sequence[str]]] = {
    "lease": ("gates", "caps", "turns", "leasing"),
    "settle": ("gates", "incidents", "caps", "keeping", "settling", "turns", "leasing"),
    "mend": ("caps",),
    "incident": ("incidents",),
    "gate": ("gates",),
}

#: What Lua knows by name and Python decides: `K.TASK` in a script stands for the text itself.
NAMES: Final[Mapping[str, Mapping[str, str | int]]] = {
    "K": keys.names(),
    "FOLLOWER": {"waits": DEFERRED, "released": TABLE[DEFERRED, "release"]},
    "LAYOUT": {"major": str(layout.MAJOR), "minor": layout.MINOR},
    "GATE": {
        "probe_ms": round(1000 * Provider("").probe_s),
        "ramp_ms": round(1000 * gate.RAMP_S),
        "hark_ms": round(1000 * gate.HARK_S),
        "crumbs": gate.CRUMBS,
    },
}

#: The same of what is looked up: as tables.
TABLES: Final[Mapping[str, Mapping[str, str | int | bool]]] = {
    "RQ_REGISTRY": keys.RQ_REGISTRY,
    "RQ_PARKED": keys.RQ_PARKED,
    "RQ_STATUS": RQ_STATUS,
    "STATE_NUMBER": NUMBERS,
    "SUCCESS": dict.fromkeys(sorted(SUCCESS), True),
    "TERMINAL": dict.fromkeys(sorted(TERMINAL), True),
}

_NAME: Final = re.compile(rf"\b({'|'.join(NAMES)})\.(\w+)")
_DEFINED: Final = re.compile(r"^local (?:function )?(\w+(?:, \w+)*)")
_WORD: Final = re.compile(r"\w+")


@cache
def text(name: str) -> str:
    """The script of this name. KeyError for one that uses a name of `NAMES` that there is not."""
    own = _own(name)
    needed = set(_WORD.findall(own))
    found = [own]
    # What is used stands before who uses it.
    shared = [one for part in ("common", *PARTS.get(name, ())) for one in _parts(part)]
    for definition in reversed([*_tables(), *shared]):
        if not needed.isdisjoint(_defined(definition)):
            needed.update(_WORD.findall(definition))
            found.append(definition)
    return "\n".join(reversed(found))


def _tables() -> Iterator[str]:
    for name, members in TABLES.items():
        said = (f"{member} = {json.dumps(value)}" for member, value in members.items())
        yield f"local {name} = {{ {', '.join(said)} }}"


@cache
def _parts(part: str) -> Sequence[str]:
    """The definitions of a file, each of which begins with `local` at the start of a line."""
    found: list[list[str]] = []
    for line in _own(part).splitlines():
        if line.startswith("local "):
            found.append([])
        found[-1].append(line)
    return ["\n".join(lines) for lines in found]


def _defined(definition: str) -> list[str]:
    return [name for names in _DEFINED.findall(definition) for name in names.split(", ")]


@cache
def _own(name: str) -> str:
    """A file without its comments and with the names put in."""
    lines = (files("proofq.workers") / "lua" / f"{name}.lua").read_text("utf-8").splitlines()
    plain = "\n".join(line for line in lines if line and not line.lstrip().startswith("--"))
    return _NAME.sub(lambda match: json.dumps(NAMES[match[1]][match[2]]), plain)
