"""The agent programs that proofq knows how to read, by the name a declaration gives as `adapter`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proofq.policies.adapters.adapter import Adapter as Adapter
from proofq.policies.adapters.claude import CLAUDE
from proofq.policies.adapters.codex import CODEX
from proofq.policies.adapters.generic import GENERIC
from proofq.policies.adapters.mini import MINI

_known: dict[str, Adapter] = {one.name: one for one in (GENERIC, CLAUDE, CODEX, MINI)}
#: Those there are: ours, and those of others that were added in this process.
ADAPTERS: Final[Mapping[str, Adapter]] = MappingProxyType(_known)


def add(adapter: Adapter) -> None:
    """Know somebody else's adapter from now on. One that is known already keeps its name."""
    _known.setdefault(adapter.name, adapter)


def of(name: str) -> Adapter:
    """The adapter called `name`. KeyError for any other name: declarations are checked before they get here."""
    return _known[name]
