"""The `python` proof, as the process made for it runs it: one call of the user's function, and what came of it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from proofq.policies.agent import JSON
from proofq.policies.verdict import small
from proofq.workers.errors import NotProven


@dataclass(frozen=True)
class Facts:
    """What a `python` proof is called with. The process is the proof's own: nothing it changes goes further."""

    #: The task's inputs by name.
    inputs: dict[str, JSON]
    #: What the attempt says of itself; None when the proof runs before the first attempt (`must_change`).
    claim: JSON
    #: The attempt's own directory and the task's, which survives attempts. Both absolute.
    workdir: Path
    taskdir: Path
    #: When the attempt was started, with its time zone; None before the first attempt.
    started_at: datetime | None

    @classmethod
    def from_dict(cls, data: Mapping[str, JSON]) -> Facts:
        """Read {"inputs", "claim", "workdir", "taskdir", "started_at"}, the last as ISO 8601 text or None."""
        started_at = data.get("started_at")
        return cls(
            inputs=dict(data["inputs"]),
            claim=data.get("claim"),
            workdir=Path(data["workdir"]),
            taskdir=Path(data["taskdir"]),
            started_at=None if started_at is None else datetime.fromisoformat(started_at),
        )


def run(function: str, facts: Mapping[str, JSON], project: str) -> dict[str, JSON]:
    """Call "module:function" of the folder `project` and tell what came of it. Never raises.

    Gives {"evidence": object} when it returned some, {"not_proven": text} when it raised proofq.NotProven, and
    {"error": text} for all else: such a proof could not tell. Returning None, False or nothing is no evidence.
    """
    try:
        _enter(project, str(facts["taskdir"]))
        returned = _resolve(function, project)(Facts.from_dict(facts))
        return _evidence(returned)
    except NotProven as error:
        return {"not_proven": _said(error) or "it said so without a reason"}
    except BaseException as error:  # noqa: BLE001 - even SystemExit of a proof says nothing about the task
        return {"error": f"{type(error).__name__}: {_said(error)}"}


def _enter(project: str, taskdir: str) -> None:
    """Make imports come from the project, and from nothing that the agent could have written into."""
    os.chdir(project)
    kept = [entry for entry in sys.path if entry and Path(entry).is_absolute() and not _is_in(entry, taskdir)]
    sys.path[:] = [project, *(entry for entry in kept if entry != project)]


def _is_in(entry: str, folder: str) -> bool:
    return Path(os.path.realpath(entry)).is_relative_to(os.path.realpath(folder))


def _resolve(function: str, project: str) -> Callable[[Facts], Any]:
    module, _, name = function.partition(":")
    found: Any = _load_file(Path(project, module)) if module.endswith(".py") else importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{function} cannot be called")
    return found  # type: ignore[no-any-return]


def _load_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"proofq_proof_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded as a module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _evidence(returned: Any) -> dict[str, JSON]:
    if inspect.isawaitable(returned):
        if inspect.iscoroutine(returned):
            returned.close()
        return {"error": "it is async; a proof is a plain function"}
    if returned is None or returned is False or (hasattr(returned, "__len__") and len(returned) == 0):
        text = f"it returned {returned!r}, which is no evidence; return what it saw, or raise proofq.NotProven"
        return {"error": text}
    return {"evidence": small(returned if isinstance(returned, Mapping) else {"value": returned})}


def _said(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an exception may fight back
        text = ""
    return str(small({"text": text})["text"])
