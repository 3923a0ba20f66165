"""Rules for the tests themselves."""

from __future__ import annotations

import ast

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tests import modules
from tests.architecture.sources import ROOT, read, uses

pytestmark = pytest.mark.xdist_group("sources")


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


def test_what_shares_a_worker_runs_in_one_process() -> None:
    """The tests of a module with a fixture of its own are one piece of work; others are spread one by one."""
    assert hasattr(LoadScopeScheduling, "_split_scope"), "xdist asks something else now"
    assert modules.shares(ROOT / "tests" / "acceptance" / "test_budget.py")
    assert not modules.shares(ROOT / "tests" / "unit" / "test_freshness.py")
