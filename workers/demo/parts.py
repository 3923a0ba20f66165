"""Who plays in the demo: its tasks, over real files, and how each must end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

Role = Literal["honest", "liar", "crash", "hang", "silent", "key", "credit", "overloaded", "overflow", "refused"]

#: The end each role must come to: state and failure class ('' = none).
ENDS: Final[Mapping[Role, tuple[str, str]]] = {
    "honest": ("verified", ""),
    "liar": ("quarantined", "unverified"),
    "crash": ("quarantined", "crash"),
    "hang": ("failed", "timeout"),
    "silent": ("failed", "stalled"),
    "key": ("held", "auth"),
    "credit": ("held", "quota"),
    "overloaded": ("failed", "overloaded"),
    "overflow": ("failed", "context_overflow"),
    "refused": ("failed", "content_refused"),
}

#: How long the slow tasks work, and the agent that does. Their worker is killed on the way.
SLOW_AGENT: Final = "survey"
SLOW_S: Final = 10.0

#: What the agents that ask a model have it write.
TEXT: Final = "Success is a claim until it has been read back."


@dataclass(frozen=True)
class Part:
    """One task of the demo. `name` is what the table calls it.

    `through`: the class of failure that its first attempt must meet, '' for none; `wait_s`: how long its provider then
    tells it to wait. `replayed`: it is held by that failure, and goes on when somebody replays it. `once`: whatever
    becomes of its only attempt, there must be no second.
    """

    name: str
    agent: str
    role: Role
    inputs: Mapping[str, Any]
    through: str = ""
    wait_s: float = 0.0
    replayed: bool = False
    once: bool = False

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
        honest("copy", "copy_file", path=str(table), out=str(out / "copy.py"), sha256=_sha256(table.read_bytes())),
        honest("imports", "list_imports", path=str(table), out=str(out / "imports.json")),
    ]


def asking(provider: str, out: Path) -> list[Part]:
    """The tasks whose agents ask a model at the provider's URL to write a file, one for each thing it does to them."""

    def asks(name: str, agent: str, behaviour: str, role: Role = "honest", through: str = "", **more: Any) -> Part:
        file = name.replace(" ", "-")
        url = f"{provider}/{behaviour}@{file}/v1"
        inputs = {"url": url, "text": TEXT, "out": str(out / f"{file}.txt"), "sha256": _sha256(TEXT.encode())}
        return Part(name, agent, role, inputs, through, **more)

    return [
        asks("answered", "draft", "good"),
        asks("answered too", "scribe", "good"),
        asks("told to wait 3 s", "draft", "429after3-then-good", through="rate_limited", wait_s=3.0),
        asks("told to wait 2 s", "scribe", "429after2-then-good", through="rate_limited", wait_s=2.0),
        asks("told to slow down", "draft", "429-then-good", through="rate_limited"),
        asks("slowed down too", "scribe", "429-then-good", through="rate_limited"),
        asks("503, then answered", "draft", "503-then-good", through="overloaded"),
        asks("529, then answered", "scribe", "529-then-good", through="overloaded"),
        asks("503 each time", "scribe", "503", "overloaded"),
        asks("connection broken", "draft", "reset-then-good", through="network"),
        asks("cut, then answered", "scribe", "cut-then-good", through="unverified"),
        asks("cut each time", "scribe", "cut", "liar"),
        asks("lies: says done", "draft", "lie", "liar"),
        asks("lies: prints done", "scribe", "lie", "liar"),
        asks("never answered", "watched_scribe", "hang", "silent"),
        asks("silent half-way", "watched_scribe", "stall", "silent"),
        asks("key refused", "scribe", "401", "key"),
        asks("key mended", "draft", "401-then-good", through="auth", replayed=True),
        asks("out of credit", "draft", "quota", "credit"),
        asks("prompt too long", "scribe", "context", "overflow"),
        asks("content refused", "draft", "403", "refused"),
        asks("done, then refused", "forgiven_scribe", "good-then-401", once=True),
    ]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
