"""The texts of the scripts: each has what it uses, and names of keys are texts in it."""

from __future__ import annotations

import re

import pytest

from proofq.workers import keys, script_text, scripts


@pytest.mark.parametrize("name", scripts.NAMES)
def test_a_script_has_what_it_uses_and_no_more(name: str) -> None:
    """Every function that is made before the script's own lines is named again after it."""
    text = script_text.text(name)
    for match in re.finditer(r"^local function (\w+)", text, re.MULTILINE):
        assert re.search(rf"\b{match[1]}\b", text[match.end() :]), f"{match[1]} is made and not used"


def test_names_are_put_in() -> None:
    """`K.TASK` is the text itself, and so is what policies decide; nothing is left to be looked up."""
    settle = script_text.text("settle")
    assert f'"{keys.TASK}" .. id' in settle
    assert not re.search(rf"\b({'|'.join(script_text.NAMES)})\.", "".join(map(script_text.text, scripts.NAMES)))


def test_a_script_that_reads_one_thing_makes_nothing_else() -> None:
    """Neither the functions nor the tables of the others stand before it."""
    assert re.findall(r"^local \S+", script_text.text("kept"), re.MULTILINE) == ["local TERMINAL", "local answer"]
