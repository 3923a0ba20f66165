"""The README's own commands: its agent is taken out of the text and run by a real worker, as a newcomer would."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import processes
from tests.architecture.sources import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS: dict[str, list[str]] = {}
for _language, _text in re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL):
    BLOCKS.setdefault(_language, []).append(_text)
TASK = re.compile(r"[0-9a-f]{16}")


class Newcomer:
    """A folder with the README's files, and a shell in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "my_agents.py").write_text(BLOCKS["python"][0])
        (folder / "proofq.toml").write_text(BLOCKS["toml"][0])
        found = str(Path(sys.executable).parent)
        marked = {processes.MARK: f"{folder.name}.000", "PATH": f"{found}{os.pathsep}{os.environ['PATH']}"}
        self.environ = os.environ | marked

    def shell(self, script: str) -> str:
        """What a script prints; it must end with 0."""
        done = subprocess.run(
            ["sh", "-e", "-c", script],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def document(self, command: str) -> Any:
        return json.loads(self.shell(f"proofq {command} --json"))

    def left(self) -> list[int]:
        return processes.of_site(self.folder.name, self.folder)


@pytest.fixture
def newcomer() -> Iterator[Newcomer]:
    """Somebody who has just installed the package."""
    with tempfile.TemporaryDirectory(prefix="pq-") as folder:
        made = Newcomer(Path(folder))
        yield made
        processes.end(made.left())


def test_the_agent_of_the_readme_takes_twelve_lines() -> None:
    """An own agent, from import to the printed state, is at most twelve lines."""
    assert len([line for line in BLOCKS["python"][0].splitlines() if line.strip()]) <= 12


def test_the_readme_works_as_written(newcomer: Newcomer) -> None:
    """Every line of its shell block does what it says, and nothing is left once the worker and Redis are stopped."""
    script = next(block for block in BLOCKS["sh"] if "proofq worker &" in block)
    *lines, last = [line.split(" #")[0].rstrip() for line in script.splitlines()]
    assert last.startswith("kill")
    first = [line for line in lines if " ID" not in line]
    about_one = [line.replace("ID", '"$id"') for line in lines if line.endswith(" ID")]
    assert len(first) + len(about_one) == len(lines)
    # The first argument of the script is the id that the second line has printed.
    after = [BLOCKS["python"][1] and "python - <<'EOF'\n" + BLOCKS["python"][1] + "EOF"]
    keep = f"{first[1]} | tee printed\nid=$(cut -d ' ' -f 1 printed)"
    printed = newcomer.shell("\n".join([first[0], keep, *first[2:], *about_one, *after, last, "wait", "true"]))
    words = (newcomer.folder / "printed").read_text().split()
    assert TASK.fullmatch(words[0])
    assert words[1] == "verified"
    shown = newcomer.document(f"show {words[0]}")
    assert shown["state"] == "verified"
    assert Path(shown["attempts"][0]["workdir"], "words.txt").read_text().endswith(" words\n")
    states = {item["agent"]: item["state"] for item in newcomer.document("tasks")["items"]}
    assert states == {"count_words": "verified", "sort_lines": "verified"}
    assert "verified" in printed
    assert newcomer.document("audit")["violations"] == []
    newcomer.shell("proofq redis stop")
    assert newcomer.left() == []


def test_every_command_of_the_readme_exists(newcomer: Newcomer) -> None:
    """The commands that the README's table names are those that are built, and no others."""
    named = set(re.findall(r"`proofq ([a-z]+)", README[README.index("## Commands") : README.index("## Python")]))
    listed = newcomer.shell("proofq --help")
    built = listed[listed.index("Commands:") : listed.index("Not built yet")]
    assert named - {"COMMAND"} == set(re.findall(r"^  ([a-z]+) ", built, re.MULTILINE))
