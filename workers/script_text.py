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
#: What stands in a list of its own is a function with the name of the last, which makes what is in these files once it
#: is called for, and gives it by name, `gates().gate_told(…)`: not every call needs it.
PARTS: Final[Mapping[str, Sequence[str | Sequence[str]]]] = {
    "enqueue": (["followers"],),
    "lease": (["gates"], ["caps"], "turns", "leasing"),
    "settle": (["followers"], ["gates"], ["incidents"], ["caps"], ["keeping"], "settling", ["turns", "leasing"]),
    "follow": ("followers",),
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

#: The same of what is looked up: as tables. Numbers are texts: as such they go to Redis at a third of the cost.
TABLES: Final[Mapping[str, Mapping[str, str | bool]]] = {
    "RQ_REGISTRY": keys.RQ_REGISTRY,
    "RQ_PARKED": keys.RQ_PARKED,
    "RQ_STATUS": RQ_STATUS,
    "STATE_NUMBER": {state: str(number) for state, number in NUMBERS.items()},
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
    needed, found = set(_WORD.findall(own)), [own]
    # What is used stands before who uses it.
    for part in reversed(("", "common", *PARTS.get(name, ()))):
        used: list[str] = []
        for file in [part] if isinstance(part, str) else reversed(part):
            for definition in reversed(_definitions(file)):
                if not needed.isdisjoint(_defined(definition)):
                    needed.update(_WORD.findall(definition))
                    used.insert(0, definition)
        found = [*(used if isinstance(part, str) else _when_called_for(part[-1], used)), *found]
    return "\n".join(found)


def _when_called_for(name: str, definitions: Sequence[str]) -> Sequence[str]:
    """A function of this name that makes them once, and gives the functions among them by name."""
    functions = [one for each in definitions if each.startswith("local function") for one in _defined(each)]
    return definitions and [
        f"local made_{name}\nlocal function {name}()\nif made_{name} then return made_{name} end",
        *definitions,
        f"made_{name} = {{ {', '.join(f'{one} = {one}' for one in functions)} }}\nreturn made_{name}\nend",
    ]


@cache
def _definitions(part: str) -> Sequence[str]:
    """Those of a file, each of which begins with `local` at the start of a line; of no file: the tables."""
    if not part:
        return list(_tables())
    found: list[list[str]] = []
    for line in _own(part).splitlines():
        if line.startswith("local "):
            found.append([])
        found[-1].append(line)
    return ["\n".join(lines) for lines in found]


def _tables() -> Iterator[str]:
    for name, members in TABLES.items():
        said = (f"{member} = {json.dumps(value)}" for member, value in members.items())
        yield f"local {name} = {{ {', '.join(said)} }}"


def _defined(definition: str) -> list[str]:
    return [name for names in _DEFINED.findall(definition) for name in names.split(", ")]


@cache
def _own(name: str) -> str:
    """A file without its comments and with the names put in."""
    lines = (files("proofq.workers") / "lua" / f"{name}.lua").read_text("utf-8").splitlines()
    plain = "\n".join(line for line in lines if line and not line.lstrip().startswith("--"))
    return _NAME.sub(lambda match: json.dumps(NAMES[match[1]][match[2]]), plain)
