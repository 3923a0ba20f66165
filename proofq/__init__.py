"""proofq: a worker queue for AI agents; success is a claim until it has been read back from the world.

Everything here is imported when it is first used, so that declaring an agent needs no Redis client.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proofq.policies.classify import classify
    from proofq.workers import proof_builders as proofs
    from proofq.workers.declare import agent
    from proofq.workers.errors import (
        BadInput,
        DeclarationError,
        Error,
        KeyConflict,
        NotBuilt,
        NotProven,
        RedisUnavailable,
        TaskFailed,
        UnknownAgent,
    )

__version__ = "0.1.0"

#: Where each public name lives: "module:name", or a module itself.
_LAZY = {
    "agent": "proofq.workers.declare:agent",
    "classify": "proofq.policies.classify:classify",
    "proofs": "proofq.workers.proof_builders",
    "BadInput": "proofq.workers.errors:BadInput",
    "DeclarationError": "proofq.workers.errors:DeclarationError",
    "Error": "proofq.workers.errors:Error",
    "KeyConflict": "proofq.workers.errors:KeyConflict",
    "NotBuilt": "proofq.workers.errors:NotBuilt",
    "NotProven": "proofq.workers.errors:NotProven",
    "RedisUnavailable": "proofq.workers.errors:RedisUnavailable",
    "TaskFailed": "proofq.workers.errors:TaskFailed",
    "UnknownAgent": "proofq.workers.errors:UnknownAgent",
}

__all__ = [
    "BadInput",
    "DeclarationError",
    "Error",
    "KeyConflict",
    "NotBuilt",
    "NotProven",
    "RedisUnavailable",
    "TaskFailed",
    "UnknownAgent",
    "__version__",
    "agent",
    "classify",
    "proofs",
]


def __getattr__(name: str) -> Any:
    place = _LAZY.get(name)
    if place is None:
        raise AttributeError(f"module 'proofq' has no attribute {name!r}")
    module, _, attribute = place.partition(":")
    found: Any = importlib.import_module(module)
    if attribute:
        found = getattr(found, attribute)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
