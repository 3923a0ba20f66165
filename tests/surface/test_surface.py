"""The table of mechanisms is whole, every patch applies, and what pytest said is read for what it is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.acceptance.liars import PAIRS
from tests.surface.copy import Ran
from tests.surface.table import FOLDER, ROOT, rows

ROWS = rows()


def test_the_table_is_whole() -> None:
    """Every patch has its row, every row its patch and its test; no id stands twice; every pair of liars is there."""
    assert {row.patch for row in ROWS} == set(FOLDER.glob("*.patch"))
    ids = [row.id for row in ROWS]
    assert len(ids) == len(set(ids))
    assert set(PAIRS) <= set(ids)
    assert [row.id for row in ROWS if not (ROOT / row.test.split("::")[0]).is_file()] == []


@pytest.mark.parametrize("patch", sorted({row.patch for row in ROWS}), ids=lambda patch: patch.stem)
def test_every_patch_applies(patch: Path) -> None:
    """A mechanism that cannot be switched off any more shows nothing."""
    words = ["patch", "-p1", "--batch", "--fuzz=0", "--dry-run", "-i", str(patch)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("ran", "green", "red"),
    [
        (Ran(0, 3, (), (), ""), True, False),
        (Ran(0, 0, (), (), "all skipped"), False, False),
        (Ran(1, 0, ("AssertionError: x",), (), ""), False, True),
        (Ran(1, 2, ("assert 1 == 2",), (), ""), False, True),
        (Ran(1, 0, ("Failed: DID NOT RAISE <class 'X'>",), (), ""), False, True),
        (Ran(1, 0, ("Failed: Timeout (>120.0s)",), (), ""), False, False),
        (Ran(1, 0, ("NameError: x",), (), ""), False, False),
        (Ran(1, 0, ("assert 1 == 2",), ("failed on setup",), ""), False, False),
        (Ran(1, 0, (), ("failed on setup",), ""), False, False),
        (Ran(4, 0, (), ("collection failure",), ""), False, False),
    ],
)
def test_red_is_an_assertion_and_nothing_else(ran: Ran, green: bool, red: bool) -> None:
    """A test that is skipped, times out, or breaks on the way shows neither."""
    assert (ran.green, ran.red) == (green, red)
