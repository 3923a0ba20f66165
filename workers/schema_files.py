"""Schemas that a declaration names by path: read once, when the agent is declared, and kept with it.

Read then and not when the proof runs, because an agent that can write its own schema proves nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from proofq.policies import placeholders
from proofq.policies import schema as json_schema
from proofq.policies.agent import AgentSpec, DeclarationProblem, Proof

#: A schema is read into every declaration and the catalogue.
MAX_BYTES = 256 * 1024


def read(name: str, folders: Iterable[Path], what: str) -> dict[str, Any]:
    """Give the schema in the file, looked for in each folder. Raises DeclarationProblem that starts with `what`."""
    try:
        return _read(name, list(dict.fromkeys(folder / name for folder in folders)))
    except (OSError, ValueError) as error:
        raise DeclarationProblem(f"{what}: {error}") from error


def _read(name: str, places: list[Path]) -> dict[str, Any]:
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise ValueError(f"there is no file {' or '.join(map(str, places))}")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError(f"it is longer than {MAX_BYTES} bytes")
        schema = json_schema.read_json(data)
        json_schema.check(schema)
    except OSError as error:
        raise ValueError(f"{name} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return dict(schema)


def inlined(spec: AgentSpec, root: Path) -> AgentSpec:
    """Give the agent with the schema of every proof read. Raises DeclarationProblem with the path of the key.

    A relative path is looked for in the agent's cwd, where that is the same for every task, and in the project.
    """
    folders = [*(root / cwd for cwd in _static(spec.cwd, root)), root]
    return dataclasses.replace(
        spec, proofs=tuple(_inlined(spec, index, proof, folders) for index, proof in enumerate(spec.proofs))
    )


def _inlined(spec: AgentSpec, index: int, proof: Proof, folders: list[Path]) -> Proof:
    options: dict[str, Any] = dict(proof.options)
    for key in placeholders.SCHEMA_OPTIONS & options.keys():
        if isinstance(options[key], str):
            what = f"agent {spec.name}: proof {index + 1}: {key}"
            try:
                options[key] = read(_path(options[key], folders[-1], what), folders, what)
            except DeclarationProblem as problem:
                raise DeclarationProblem(problem.message, key=("proofs", index, key)) from problem
    return dataclasses.replace(proof, options=options)


def _path(template: str, root: Path, what: str) -> str:
    for path in _static(template, root):
        return path
    raise DeclarationProblem(f"{what}: the path of a schema may use {{project}} only, not what a task decides")


def _static(template: str, root: Path) -> list[str]:
    """Give what a template means for every task, or nothing when it depends on the task."""
    if placeholders.names(template) - {"project"}:
        return []
    return [placeholders.expand(template, {"project": str(root)})]
