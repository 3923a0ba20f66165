"""The real command line in a project of a test's own, over a private Redis."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proofq.workers import known_agents, producer, session
from proofq.workers.cli.main import execute
from proofq.workers.session import Session

#: Agents of the project. None of them is run unless a test starts a worker.
TOML = """
[worker]
slots = 2
meta_slots = 0

[agents.note]
command = ["sh", "-c", "printf %s \\"$1\\" > \\"$2\\"", "sh", "{text}", "{out}"]
inputs = { text = "str", out = "str", count = "int?", ratio = "float?", yes = "bool?", some = "list?", more = "dict?" }
proofs = [{ kind = "file", path = "{out}", min_bytes = 1, contains = "{text}" }]

[agents.liar]
command = ["true"]
max_attempts = 1
proofs = [{ kind = "file", path = "never.txt", min_bytes = 1 }]

[agents.slow]
command = ["sleep", "{seconds}"]
inputs = { seconds = "float" }
timeout_s = 1
unproven = true

[agents.steady]
command = ["sleep", "{seconds}"]
inputs = { seconds = "float" }
unproven = true
"""


@dataclass(frozen=True)
class Done:
    """One finished command."""

    code: int
    stdout: str
    stderr: str
    took_s: float

    @property
    def document(self) -> dict[str, Any]:
        """Its stdout, which is exactly one JSON document of our schema version."""
        found = json.loads(self.stdout)
        assert isinstance(found, dict)
        assert found["schema_version"] == 1
        return found

    @property
    def error(self) -> str:
        """The kind of the error in its document."""
        kind: str = self.document["error"]["kind"]
        assert self.document["error"]["message"]
        return kind


class Inside:
    """The commands in this process, for tables of many; `root`: in that folder, with the settings in `environ`."""

    def __init__(self, root: Path | None = None, environ: Mapping[str, str] | None = None) -> None:
        self._root = root
        self._environ = {name: text for name, text in (environ or {}).items() if name.startswith("PROOFQ_")}

    def __call__(self, *words: str) -> Done:
        stdout, stderr = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as here:
            if self._root is not None:
                here.chdir(self._root)
            for name, text in self._environ.items():
                here.setenv(name, text)
            # click prints help and version to these, whatever it is given.
            with redirect_stdout(stdout), redirect_stderr(stderr):
                code = execute(words, stdout, stderr)
        return Done(code, stdout.getvalue(), stderr.getvalue(), 0.0)


class Project:
    """A folder with a proofq.toml, and `proofq` run in it. `url` None: the embedded Redis is used."""

    def __init__(self, root: Path, url: str | None, toml: str = TOML) -> None:
        self.root = root
        self.root.mkdir(parents=True, exist_ok=True)
        (root / "proofq.toml").write_text(toml)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PROOFQ_")}
        kept.pop("REDIS_URL", None)
        self._opened: Session | None = None
        self.environ: dict[str, str] = kept | ({"PROOFQ_REDIS_URL": url} if url else {})

    def __call__(self, *words: str, env: Mapping[str, str] | None = None, within_s: float = 60.0) -> Done:
        """Run `proofq WORDS` to its end."""
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "proofq", *words],
            cwd=self.root,
            env=self.environ | dict(env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=within_s,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr, time.monotonic() - begun)

    def inside(self, *words: str) -> Done:
        """Run `proofq WORDS` in this process: where what it says and does is tested, and not the process."""
        return Inside(self.root, self.environ)(*words)

    def start(self, *words: str, stderr: int | None = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start `proofq WORDS` and go on; the caller ends it."""
        return subprocess.Popen(
            [sys.executable, "-m", "proofq", *words],
            cwd=self.root,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def session(self) -> Session:
        """The project and its store, in this process."""
        return session.open_session(self.root, self.environ)

    def enqueue(self, agent: str = "note", **inputs: Any) -> str:
        """Enqueue a task in this process, which is quicker than by the command; its id."""
        given = inputs or ({"text": "hi", "out": "a"} if agent == "note" else {})
        self._opened = self._opened or self.session()
        known = known_agents.find(self._opened, agent)
        return producer.enqueue(self._opened, known, given, producer.Request(), "test").id
