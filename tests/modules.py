"""Which tests run in one process of several: those of a module that share something it takes long to set up."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

#: What says so in a module's text: a fixture of the module, or a group of its own.
SHARES = ('scope="module"', "xdist_group(")


class ByModule(LoadScopeScheduling):  # type: ignore[misc]
    """Each module that shares something is one piece of work, as each other test is. Every process that gets a part of
    such a module would set it up for itself, and a worker alone takes two seconds of CPU to start."""

    def _split_scope(self, nodeid: str) -> str:
        """The piece of work that a test belongs to."""
        module = nodeid.partition("::")[0]
        return module if shares(self.config.rootpath / module) else nodeid


@cache
def shares(module: Path) -> bool:
    """Whether the tests of a module have something in common."""
    text = module.read_text()
    return any(word in text for word in SHARES)
