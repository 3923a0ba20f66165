"""What a supervisor asks a child of its forkserver, where the agents' modules are loaded: what they declare.

A module of its own, so that the child loads nothing for it that its forkserver has not.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from proofq.workers import project

if TYPE_CHECKING:
    from proofq.workers.child import Job

#: How the supervisor names the function below.
FUNCTION: Final = "proofq.workers.describe:describe"


def describe(job: Job) -> dict[str, Any]:
    """Every declaration of the project, as JSON."""
    found = project.load(Path(job.payload["root"]), import_modules=True)
    return {name: spec.to_dict() for name, spec in found.agents.items()}
