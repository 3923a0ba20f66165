"""The table of mechanisms: tests/surface/table.toml, a row for each patch and the test that it must turn red."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]


@dataclass(frozen=True)
class Row:
    """`id`: the pair of liars or the row of docs/failure-surface.md. `test` is pytest's id of the test."""

    id: str
    patch: Path
    test: str


def rows() -> list[Row]:
    """Every row, in the table's order. Raises KeyError where one lacks a key."""
    found = tomllib.loads((FOLDER / "table.toml").read_text())["row"]
    return [Row(each["id"], FOLDER / each["patch"], each["test"]) for each in found]
