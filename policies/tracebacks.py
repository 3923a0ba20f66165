"""How a Python program died, out of what it printed: the errors of its last traceback, outermost first.

The text is a program's, so nothing of it is imported or looked up: a name, the package before it, and a message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from proofq.policies import error_kind, error_names, wording
from proofq.policies.error_facts import ErrorFacts
from proofq.policies.error_kind import Strength

_BEGIN: Final = re.compile(r"^[ |+]*(?:Exception Group )?Traceback \(most recent call last\):[ \t]*$", re.MULTILINE)
#: The line that names the error: the first below the frames that is not indented.
_NAMED: Final = re.compile(r"(?P<name>[A-Za-z_][\w.]*)(?::[ \t]?(?P<text>.*))?$")
#: What stands before the lines of a group and its members, and between the members.
_MEMBER: Final = re.compile(r" {0,200}\| ?")
_NEXT_MEMBER: Final = re.compile(r" {0,200}\+-")
#: The kernel's own number in front of a text.
_ERRNO: Final = re.compile(r"\[Errno -?\d+\]")
_BETWEEN: Final = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
#: Tracebacks of one chain, and characters of one message, that are looked at.
_CHAIN: Final = 20
_MESSAGE: Final = 4000


@dataclass(frozen=True)
class Died:
    """One error of a traceback: its name with the package, and its message."""

    name: str
    text: str

    @property
    def line(self) -> str:
        """As it was printed, on one line."""
        return f"{self.name}: {self.text}" if self.text else self.name


def last(text: str) -> list[Died]:
    """The errors of the last traceback of a text, the one that was raised last first; [] where there is none.

    What was printed after it is taken for more of its message: of a program that died of it there is nothing else.
    """
    begins = [found.start() for found in _BEGIN.finditer(text)]
    blocks = [text[begin:end] for begin, end in pairwise([*begins, len(text)])][-_CHAIN:]
    found: list[Died] = []
    for block in reversed(blocks):
        # What links it to the next one stands at its end; members of a group are framed.
        linked = any(between in block[-200:] for between in _BETWEEN) or block.lstrip()[:1] in ("|", "+")
        if found and not linked:
            break
        found += _named(block)
    return found


def judge(died: list[Died]) -> tuple[str, Strength, Died] | None:
    """The class that the errors of a traceback stand for, as classify would say of them as raised; None for a bug."""
    judged = [(*_kind(one), one) for one in died]
    sure = [one for one in judged if one[1] > Strength.BUG]
    return max(sure, key=lambda one: one[1], default=None)


def _named(block: str) -> list[Died]:
    """The error that a block names, and those of a group's members that have no traceback of their own."""
    found: list[Died] = []
    waiting = True
    for line in block.splitlines()[1:]:
        inside = _MEMBER.sub("", line, count=1) if _MEMBER.match(line) else line
        if _NEXT_MEMBER.match(line):
            waiting = True
        elif inside in _BETWEEN:
            break
        elif waiting and inside.strip() and not inside.startswith("  "):
            named = _NAMED.match(inside)
            if named is None:
                break
            found.append(Died(named["name"], named["text"] or ""))
            waiting = False
        elif not waiting and len(found[-1].text) < _MESSAGE:
            found[-1] = Died(found[-1].name, f"{found[-1].text}\n{inside}".rstrip())
    return found


def _kind(died: Died) -> tuple[str, Strength]:
    package, _, name = died.name.rpartition(".")
    top = package.split(".")[0]
    # What it derives from is not known: a bug of the standard library's is one by its own name only.
    facts = ErrorFacts(
        Exception(died.text), (name,), frozenset({top}), text=died.text, remote=top in error_names.PROVIDERS
    )
    if name == "MemoryError":
        return "resource", Strength.NAME
    said = wording.judge_text(died.text)[0] if _ERRNO.match(died.text) else None
    if said in ("infrastructure", "resource", "network"):
        return said, Strength.ERRNO
    return error_kind.of_store(facts) or error_kind.of_text(facts)
