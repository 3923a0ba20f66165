"""Who plays in the demo: its tasks, over real files, and how each must end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

Role = Literal["honest", "liar", "crash", "hang"]

#: The end each role must come to: state and failure class ('' = none).
ENDS: Final[Mapping[Role, tuple[str, str]]] = {
    "honest": ("verified", ""),
    "liar": ("quarantined", "unverified"),
    "crash": ("quarantined", "crash"),
    "hang": ("failed", "timeout"),
}

#: How long the slow tasks work, and the agent that does. Their worker is killed on the way.
SLOW_AGENT: Final = "survey"
SLOW_S: Final = 9.0


@dataclass(frozen=True)
class Part:
    """One task of the demo. `name` is what the table calls it."""

    name: str
    agent: str
    role: Role
    inputs: Mapping[str, Any]

    @property
    def slow(self) -> bool:
        """Whether it works long enough to be there when its worker is killed."""
        return self.agent == SLOW_AGENT


def cast(sources: Path, out: Path) -> list[Part]:
    """The tasks, slow ones first; makes the folder `out` with the old reports that two of them begin from.

    `sources` is the folder of the package: its workers and policies are the files that are worked on.
    """
    workers, policies = str((sources / "workers").resolve()), str((sources / "policies").resolve())
    table = Path(policies, "lifecycle.py")
    text = table.read_text("utf-8")
    out.mkdir()
    for name in ("refreshed.json", "touched.json"):
        out.joinpath(name).write_text(json.dumps({"path": str(table), "lines": 1}), encoding="utf-8")

    def honest(name: str, agent: str, **inputs: Any) -> Part:
        return Part(name, agent, "honest", inputs)

    def report(name: str, agent: str, role: Role, file: str) -> Part:
        return Part(name, agent, role, {"path": str(table), "out": str(out / file)})

    return [
        honest("survey of workers", SLOW_AGENT, source=workers, out=str(out / "survey-1.json"), seconds=SLOW_S),
        honest("survey of policies", SLOW_AGENT, source=policies, out=str(out / "survey-2.json"), seconds=SLOW_S),
        honest("survey again", SLOW_AGENT, source=workers, out=str(out / "survey-3.json"), seconds=SLOW_S),
        report("hangs, deaf to TERM", "hang", "hang", "hung.json"),
        report("crashes each time", "crash", "crash", "crashed.json"),
        report("lies: writes nothing", "write_nothing", "liar", "nothing.json"),
        report("lies: touches a file", "touch_report", "liar", "touched.json"),
        report("its honest twin", "refresh_report", "honest", "refreshed.json"),
        honest("definitions", "count_definitions", source=workers),
        honest("docstrings", "index_docstrings", source=workers, out=str(out / "index.json")),
        honest("digests", "digest_files", source=policies, out=str(out / "digests.json")),
        honest("grep", "grep_count", path=str(table)),
        honest("bytes", "count_bytes", text=text, bytes=len(text.encode())),
        honest("sorted", "sort_lines", path=str(table), out=str(out / "sorted.txt")),
        honest("copy", "copy_file", path=str(table), out=str(out / "copy.py"), sha256=_digest(table)),
        honest("imports", "list_imports", path=str(table), out=str(out / "imports.json")),
    ]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
