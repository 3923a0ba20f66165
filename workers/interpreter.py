"""How a Python of ours is started."""

from __future__ import annotations

import sys


def fresh_interpreter(module: str, *args: str) -> list[str]:
    """The command line of a new Python that runs a module of ours, with nothing of the current directory in it."""
    return [sys.executable, "-P", "-m", module, *args]
