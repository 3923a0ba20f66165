"""The agent programs that proofq knows how to read, by the name a declaration gives as `adapter`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proofq.policies.adapters.adapter import Adapter
from proofq.policies.adapters.claude import CLAUDE
from proofq.policies.adapters.generic import GENERIC

ADAPTERS: Final[Mapping[str, Adapter]] = {one.name: one for one in (GENERIC, CLAUDE)}


def of(name: str) -> Adapter:
    """The adapter called `name`. KeyError for any other name: declarations are checked before they get here."""
    return ADAPTERS[name]
