"""The state directory of a project: embedded Redis, task directories, captured output.

`<project>/.proofq`, or `PROOFQ_STATE_DIR`. Mode 0700, and with a .gitignore of its own, so that
nothing in it is committed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from proofq.workers.errors import BadInput


def locate(project_root: Path, environ: Mapping[str, str]) -> Path:
    """The state directory of a project, absolute, whether it exists or not.

    A relative PROOFQ_STATE_DIR means a folder of the project, so that every command finds the same one.
    """
    named = environ.get("PROOFQ_STATE_DIR")
    return (project_root / named if named else project_root / ".proofq").absolute()


def make(state_dir: Path) -> Path:
    """Create the state directory unless it is there. Raises BadInput when that is not possible."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignore = state_dir / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        raise BadInput(
            f"The state directory {state_dir} cannot be made: {error.strerror}. "
            "Run proofq where you may write, or name another place in PROOFQ_STATE_DIR."
        ) from error
    return state_dir
