"""A mistake in proofq.toml stops who would go by it, and blinds nobody who only looks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import PrivateServer, binaries


def _proofq(folder: Path, url: str, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PROOFQ_REDIS_URL": url}
    command = [sys.executable, "-m", "proofq", *words, "--json"]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("act", ["show", "why", "tasks", "audit", "cancel"])
def test_a_broken_declaration_does_not_blind_an_operator(tmp_path: Path, act: str) -> None:
    """Looking at tasks, auditing and cancelling work although an agent is declared wrongly; enqueuing is refused."""
    toml = tmp_path / "proofq.toml"
    toml.write_text('[agents.note]\ncommand = ["true"]\nunproven = true\n')
    with PrivateServer(binaries()[0]) as server:
        made = json.loads(_proofq(tmp_path, server.url, "enqueue", "note").stdout)
        toml.write_text('[agents.note]\ncommand = ["true"]\nunproven = true\ntimeout_s = -1\n')
        words = [act] if act in {"tasks", "audit"} else [act, made["id"]]
        looked = _proofq(tmp_path, server.url, *words)
        assert looked.returncode == 0, looked.stdout
        assert made["id"] in looked.stdout or json.loads(looked.stdout)["checked"] == 1
        refused = _proofq(tmp_path, server.url, "enqueue", "note")
        assert refused.returncode == 2
        assert "proofq.toml:4" in json.loads(refused.stdout)["error"]["message"]
