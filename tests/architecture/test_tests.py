"""Rules for the tests themselves."""

from __future__ import annotations

import ast

from tests.architecture.sources import read, uses


def test_every_test_says_what_it_shows() -> None:
    """Every test function has a docstring, whose first line fits a line."""
    missing = [
        f"{source.name}:{node.lineno}: {node.name}"
        for source in read("tests")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not (ast.get_docstring(node) or "").strip()
    ]
    assert missing == []


def test_nothing_is_mocked() -> None:
    """No test uses unittest.mock, fakeredis or a double of a library: the real thing runs."""
    banned = ("unittest.mock", "mock", "fakeredis", "pytest_mock")
    found = [
        f"{source.name}:{line}: {used}"
        for source in read("tests")
        for line, used in uses(source)
        if any(used == name or used.startswith(f"{name}.") for name in banned)
    ]
    assert found == []
