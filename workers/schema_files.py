"""Schemas that a declaration names by path: read once, when the agent is declared, and kept with it.

Read then and not when the proof runs, because an agent that can write its own schema proves nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from proofq.policies import placeholders
from proofq.policies import schema as json_schema
from proofq.policies.agent import AgentSpec, DeclarationProblem, Proof

#: A schema is read into every declaration and the catalogue.
MAX_BYTES = 256 * 1024


def read(name: str, folders: Iterable[Path], what: str) -> dict[str, Any]:
    """Give the schema in the file, looked for in each folder. Raises DeclarationProblem that starts with `what`."""
    places = list(dict.fromkeys(folder / name for folder in folders))
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise DeclarationProblem(f"{what}: there is no file {' or '.join(map(str, places))}")
    try:
        data = path.read_bytes()
        if len(data) > MAX_BYTES:
            raise DeclarationProblem(f"{what}: {path} is longer than {MAX_BYTES} bytes")
        schema = json_schema.read_json(data)
        json_schema.check(schema)
    except OSError as error:
        raise DeclarationProblem(f"{what}: {path} cannot be read: {error.strerror}") from error
    except (json_schema.JsonProblem, json_schema.SchemaProblem) as error:
        raise DeclarationProblem(f"{what}: {path}: {error}") from error
    return dict(schema)


def inlined(spec: AgentSpec, root: Path) -> AgentSpec:
    """Give the agent with the schema of every proof read, where its path holds no placeholder but {project}.

    A relative path is looked for in the agent's cwd, where that is known yet, and in the project. A path that an input
    decides stays as it is. Raises DeclarationProblem with the path of the key.
    """
    folders = [*(root / cwd for cwd in _static(spec.cwd, root)), root]
    return dataclasses.replace(
        spec, proofs=tuple(_inlined(spec, index, proof, folders) for index, proof in enumerate(spec.proofs))
    )


def _inlined(spec: AgentSpec, index: int, proof: Proof, folders: list[Path]) -> Proof:
    options: dict[str, Any] = dict(proof.options)
    for key in placeholders.SCHEMA_OPTIONS & options.keys():
        for path in _static(options[key], folders[-1]) if isinstance(options[key], str) else ():
            try:
                options[key] = read(path, folders, f"agent {spec.name}: proof {index + 1}: {key}")
            except DeclarationProblem as problem:
                raise DeclarationProblem(problem.message, key=("proofs", index, key)) from problem
    return dataclasses.replace(proof, options=options)


def _static(template: str, root: Path) -> list[str]:
    """Give the path a template means for every task, or nothing when it depends on the task."""
    if placeholders.names(template) - {"project"}:
        return []
    values: Mapping[str, Any] = {"project": str(root)}
    return [placeholders.expand(template, values)]
