"""What the model behind the provider says: a text, or a call of a tool that the program brought.

It understands one wish, `Write "TEXT" to the file PATH`, and of the tools only those that can fulfil it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Asked:
    """A request, whatever API it came by.

    `text` is all that was said so far; `tools` the names of those that may be called; `answered` whether the result of
    a tool is among what was said.
    """

    model: str
    stream: bool
    text: str
    tools: Collection[str]
    answered: bool


@dataclass(frozen=True)
class Answer:
    """Either a text, or a call: the name of a tool and its arguments."""

    text: str = ""
    tool: str = ""
    arguments: Mapping[str, Any] | None = None


_WISH: Final = re.compile(r'Write "(?P<text>[^"]*)" to the file (?P<path>[^\s"\\]+?)[.,]?(?:[\s"\\]|$)')
#: What one program wants to be run once it has nothing more to do; it takes no word for an answer.
_SUBMIT: Final = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"

_Arguments = Callable[[str, str], dict[str, Any]]


def _shell(text: str, path: str) -> str:
    return f"printf '%s\\n' {shlex.quote(text)} > {shlex.quote(path)}"


#: By a tool's name, its arguments for writing a text to a path.
TOOLS: Final[Mapping[str, _Arguments]] = {
    "write_file": lambda text, path: {"path": path, "text": text},
    "Write": lambda text, path: {"file_path": path, "content": text + "\n"},
    "Bash": lambda text, path: {"command": _shell(text, path), "description": "Write the file"},
    "bash": lambda text, path: {"command": _shell(text, path)},
    "exec_command": lambda text, path: {"cmd": _shell(text, path)},
    "shell_command": lambda text, path: {"command": _shell(text, path)},
    "shell": lambda text, path: {"command": ["sh", "-c", _shell(text, path)]},
}


def honest(asked: Asked) -> Answer:
    """Fulfil the wish: by a tool where there is one, then say so; without tools the text itself is the answer."""
    wish = _WISH.search(asked.text)
    if wish is None:
        return Answer("I do not understand.")
    tool = next((name for name in TOOLS if name in asked.tools), "")
    if not tool:
        return Answer(wish["text"])
    if asked.answered:
        return done(asked)
    return Answer(tool=tool, arguments=TOOLS[tool](wish["text"], wish["path"]))


def done(asked: Asked) -> Answer:
    """Say that it is done, true or not."""
    if _SUBMIT in asked.text and "bash" in asked.tools:
        return Answer(tool="bash", arguments={"command": f"echo {_SUBMIT}"})
    wish = _WISH.search(asked.text)
    return Answer(f"Done: I have written {wish['path'] if wish else 'it'} and checked that it is right.")
