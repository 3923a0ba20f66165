"""Texts of every script go from the enqueue through the agent to the result, byte for byte."""

from __future__ import annotations

import json
import subprocess
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest

from proofq.policies import lifecycle
from proofq.workers import task_view
from proofq.workers.cli import exit_codes
from tests.acceptance.harness import Site, program

TEXTS = {
    "composed": unicodedata.normalize("NFC", "Zo\u00eb \u00c5"),
    "decomposed": unicodedata.normalize("NFD", "Zo\u00eb \u00c5"),
    "emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f3f4\U000e0067\U000e007f \u2764\ufe0f",
    "right to left": "\u202e\u062a\u062c\u0631\u0628\u0629\u202c \u05e2\u05d1\u05e8\u05d9\u05ea",
    "controls": "\x01\x1b[31m\x7f\u2028\u0085\r\n\t",
    "quotes": "\"'\\\\{}}{{%s $HOME `x`",
    "edges": "\ufeff\ufffe\uffff\U0010ffff",
    "long": "\u00fc\u0308" * 75_000,
}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with a worker that is ready."""
    with Site() as one:
        one.start().wait_ready()
        yield one


def _shown(site: Site, task_id: str) -> dict[str, Any]:
    document = task_view.show(site.store, task_id, site.session.project.state_dir)
    found: dict[str, Any] = json.loads(json.dumps(document))
    return found


@pytest.mark.parametrize("name", TEXTS)
def test_through_a_function_and_a_command(site: Site, name: str) -> None:
    """The result of a function, and what a command read on stdin and printed, is what was enqueued."""
    text = TEXTS[name]
    returned, printed = site.enqueue("quick", word=text), site.enqueue("echo", document={text[:200]: [text]})
    assert site.wait_for(returned, lifecycle.FINISHED_UNPROVEN).claim["word"].encode() == text.encode()
    site.wait_for(printed, lifecycle.VERIFIED)
    shown = _shown(site, printed)
    assert shown["inputs"]["document"] == shown["claim"] == {text[:200]: [text]}


@pytest.mark.parametrize("name", [name for name in TEXTS if name != "long"])
def test_through_the_commands(site: Site, name: str) -> None:
    """`proofq run -i` gives back in its document what was typed, from an argument of the agent's command as well."""
    text = TEXTS[name]
    command = [*program(), "run", "prints", "-i", f"text={text}", "--timeout", "60", "--json"]
    done = subprocess.run(command, cwd=site.project, env=site.environ(), capture_output=True, timeout=90, check=False)
    assert done.returncode in {exit_codes.OF_STATE[lifecycle.FINISHED_UNPROVEN], 0}, done.stderr
    document = json.loads(done.stdout)
    assert document["inputs"]["text"].encode() == document["claim"]["output_tail"].encode() == text.encode()
