"""What a forkserver says of its owner once its supervisor is gone."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from proofq.workers import killing
from proofq.workers.interpreter import fresh_interpreter
from proofq.workers.wire import Channel
from tests.spawning import ROOT, config

WITHIN_S = 60


@pytest.mark.parametrize("dies", [True, False])
def test_nobody_is_told_of_deaths_while_one_lives(tmp_path: Path, dies: bool) -> None:
    """Whoever is told starts the tasks anew; what will not die is left to reapers, after it was tried for long."""
    buried, tried = tmp_path / "buried", tmp_path / "tried"
    settings = config(bury_to=buried, **({} if dies else {"deathless": str(tried)}))
    ours, theirs = socket.socketpair()
    with theirs:
        command = fresh_interpreter("proofq.workers.forkserver", "--fd", str(theirs.fileno()))
        # It finds the burial before the agents' folder is on its path.
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, env=environ, pass_fds=[theirs.fileno()], start_new_session=True)
    channel = Channel(ours)
    channel.send(settings.to_dict())
    assert next(channel.receive(WITHIN_S)).body["type"] == "ready"
    channel.close()
    assert process.wait(WITHIN_S) == 0
    assert buried.exists() == dies
    if not dies:
        assert float(tried.read_text()) == killing.GONE_WITHIN_S
