"""proofq: a worker queue for AI agents; success is a claim until it has been read back from the world.

Everything named here is loaded when it is first used, so that importing proofq costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proofq.policies.classify import classify as classify
    from proofq.workers import proof_builders as proofs
    from proofq.workers.agent_worker import AgentWorker as AgentWorker
    from proofq.workers.api import Task as Task
    from proofq.workers.api import enqueue as enqueue
    from proofq.workers.api import run as run
    from proofq.workers.declare import agent as agent
    from proofq.workers.errors import BadInput as BadInput
    from proofq.workers.errors import BudgetReached as BudgetReached
    from proofq.workers.errors import DeclarationError as DeclarationError
    from proofq.workers.errors import EffectUnknown as EffectUnknown
    from proofq.workers.errors import Error as Error
    from proofq.workers.errors import ErrorInside as ErrorInside
    from proofq.workers.errors import KeyConflict as KeyConflict
    from proofq.workers.errors import NotBuilt as NotBuilt
    from proofq.workers.errors import NotDone as NotDone
    from proofq.workers.errors import NotProven as NotProven
    from proofq.workers.errors import RedisUnavailable as RedisUnavailable
    from proofq.workers.errors import Refused as Refused
    from proofq.workers.errors import TaskFailed as TaskFailed
    from proofq.workers.errors import UnknownAgent as UnknownAgent
    from proofq.workers.errors import UnknownTask as UnknownTask
    from proofq.workers.steps import step as step

__version__ = "0.1.0"

__all__ = [
    "AgentWorker",
    "BadInput",
    "BudgetReached",
    "DeclarationError",
    "EffectUnknown",
    "Error",
    "ErrorInside",
    "KeyConflict",
    "NotBuilt",
    "NotDone",
    "NotProven",
    "RedisUnavailable",
    "Refused",
    "Task",
    "TaskFailed",
    "UnknownAgent",
    "UnknownTask",
    "agent",
    "classify",
    "enqueue",
    "proofs",
    "run",
    "step",
]

#: Public name -> "module:name", or the module itself.
_PLACES = {
    "agent": "proofq.workers.declare:agent",
    "classify": "proofq.policies.classify:classify",
    "enqueue": "proofq.workers.api:enqueue",
    "proofs": "proofq.workers.proof_builders",
    "run": "proofq.workers.api:run",
    "AgentWorker": "proofq.workers.agent_worker:AgentWorker",
    "step": "proofq.workers.steps:step",
    "Task": "proofq.workers.api:Task",
    "BadInput": "proofq.workers.errors:BadInput",
    "BudgetReached": "proofq.workers.errors:BudgetReached",
    "DeclarationError": "proofq.workers.errors:DeclarationError",
    "EffectUnknown": "proofq.workers.errors:EffectUnknown",
    "Error": "proofq.workers.errors:Error",
    "ErrorInside": "proofq.workers.errors:ErrorInside",
    "KeyConflict": "proofq.workers.errors:KeyConflict",
    "NotBuilt": "proofq.workers.errors:NotBuilt",
    "NotDone": "proofq.workers.errors:NotDone",
    "NotProven": "proofq.workers.errors:NotProven",
    "RedisUnavailable": "proofq.workers.errors:RedisUnavailable",
    "Refused": "proofq.workers.errors:Refused",
    "TaskFailed": "proofq.workers.errors:TaskFailed",
    "UnknownAgent": "proofq.workers.errors:UnknownAgent",
    "UnknownTask": "proofq.workers.errors:UnknownTask",
}


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'proofq' has no attribute {name!r}")
    module, _, inside = place.partition(":")
    found: Any = importlib.import_module(module)
    if inside:
        found = getattr(found, inside)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
