"""The documents: drawn pages are fresh, links lead somewhere, every row of the failure surface has its line."""

from __future__ import annotations

import re

import pytest

from proofq.workers import draw
from tests.architecture.sources import ROOT

DOCUMENTS = [
    str(path.relative_to(ROOT)) for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))
]
SURFACE = (ROOT / "docs" / "failure-surface.md").read_text()
#: A line of the table: what goes wrong, mechanism, bound, tests; by its id.
ROWS: dict[str, list[str]] = {
    line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[1:-1]]
    for line in SURFACE.splitlines()
    if re.match(r"\| S\d+ \|", line)
}
#: How a line of the failure surface says that nothing shows it yet.
NOT_YET = "not yet"


def test_drawn_pages_are_fresh() -> None:
    """docs/life-of-a-task.md is what `make docs` would write now."""
    assert (ROOT / "docs" / draw.PAGE).read_text() == draw.page()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    """Every relative link of a document names a file of the repository."""
    path = ROOT / document
    links = re.findall(r"\]\(([^)#]+)", path.read_text())
    broken = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_are_named_exist(document: str) -> None:
    """What a document names as a file of the repository (`workers/door.py`, `lua/reap.lua`) is there."""
    named = set(re.findall(r"`((?:workers|policies|tests|docs|lua|proofq)/[\w./-]+)`", (ROOT / document).read_text()))
    below = (ROOT, ROOT / "workers")
    assert sorted(name for name in named if not any((folder / name).exists() for folder in below)) == []


def test_house_rules_fit_a_page() -> None:
    """AGENTS.md and CONTRIBUTING.md are read because they are short."""
    lengths = {name: len((ROOT / name).read_text().splitlines()) for name in ["AGENTS.md", "CONTRIBUTING.md"]}
    assert {name: length for name, length in lengths.items() if length > 60} == {}


def test_every_row_of_the_surface_has_its_line() -> None:
    """docs/failure-surface.md has S1 to S72, once each, in order."""
    found = re.findall(r"^\| (S\d+) \|", SURFACE, re.MULTILINE)
    assert found == [f"S{number}" for number in range(1, 73)]


@pytest.mark.parametrize("row", list(ROWS))
def test_a_handled_row_names_its_test(row: str) -> None:
    """A row is not yet handled, or it names a mechanism, a bound, and tests that exist."""
    _, wrong, mechanism, bound, shown_by = ROWS[row]
    assert wrong
    if shown_by.startswith(NOT_YET):
        return
    assert mechanism
    assert bound
    tests = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", shown_by)
    assert tests, f"{row} names no test"
    for path, name in tests:
        text = (ROOT / path).read_text()
        assert not name or re.search(rf"^def {name}\(", text, re.MULTILINE), f"{row}: no {name} in {path}"


def test_counts_of_the_surface_are_right() -> None:
    """The number of handled rows that the page tells is the number that it has."""
    handled = sum(not cells[4].startswith(NOT_YET) for cells in ROWS.values())
    assert f"{handled} of {len(ROWS)} rows are handled" in SURFACE


def test_decisions_are_numbered_without_gaps() -> None:
    """docs/adr holds 0001, 0002, ..., each with context, decision and consequences."""
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    wanted = ("**Context.**", "**Decision.**", "**Consequences.**")
    assert [page.name for page in pages if not all(word in page.read_text() for word in wanted)] == []
