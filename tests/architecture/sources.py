"""The project's own Python files, parsed, and what of them the rules look at."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, eq=False)
class Source:
    """One file: its path from the root (`workers/keys.py`) and its syntax tree; itself alone."""

    name: str
    tree: ast.Module


def read(*folders: str) -> list[Source]:
    """Every Python file below these folders of the root; links are not followed."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [_parsed(path) for path in paths]


@cache
def _parsed(path: Path) -> Source:
    """Each file once in a process: all of them are two seconds of CPU."""
    return Source(str(path.relative_to(ROOT)), ast.parse(path.read_text(), str(path)))


def product() -> list[Source]:
    """What is installed at users'."""
    own = sorted((ROOT / "proofq").glob("*.py"))
    return [_parsed(path) for path in own] + read("policies", "workers")


@cache
def uses(source: Source) -> list[tuple[int, str]]:
    """Every imported name the file uses, written out: (line, "os.fork"), (line, "time").

    `from time import time as now; now()` is `time.time`; `import os as o; o.fork` is `os.fork`. An attribute
    of anything else than an imported name is not followed.
    """
    return list(_uses(source))


def _uses(source: Source) -> Iterator[tuple[int, str]]:
    known: dict[str, str] = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                known[alias.asname or first] = alias.name if alias.asname else first
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield node.lineno, f"{node.module}.{alias.name}"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute):
            dotted = _dotted(node)
            if dotted is not None and dotted[0] in known:
                yield node.lineno, ".".join([known[dotted[0]], *dotted[1:]])


def _dotted(node: ast.expr) -> list[str] | None:
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return None if before is None else [*before, node.attr]
    return None


def texts(source: Source) -> Iterator[tuple[int, str]]:
    """Every string literal with its line, the constant parts of f-strings included, docstrings not."""
    docs = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docs.add(id(node.value))
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and id(node) not in docs:
            value = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
            yield node.lineno, value
