"""The liars and their twins as tasks of a real worker: enqueued, run by its slots, settled by its door."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proofq.workers.record import Task
from tests.acceptance.harness import Site, one_end
from tests.acceptance.liars import PAIRS, Pair

TYPES = {str: "str", int: "int"}


def _declare(site: Site) -> None:
    """One agent for each pair: what it runs is an input, so that liar and twin have the very same declaration."""
    toml = site.project / "proofq.toml"
    parts = [toml.read_text()]
    for name, pair in PAIRS.items():
        inputs = "".join(f', {key} = "{TYPES[type(value)]}"' for key, value in pair.inputs.items())
        parts.append(
            f"[agents.{name}]\n"
            'command = ["/bin/sh", "-c", "{script}"]\n'
            f'inputs = {{ script = "str", dir = "str"{inputs} }}\n'
            'cwd = "{dir}"\n'
            'pass_env = ["PQ_SITE_MARK"]\n'
            "max_attempts = 1\n"
            f"{pair.declared}\n"
            f"proofs = [{pair.proofs}]\n"
        )
    toml.write_text("\n".join(parts))


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A worker that serves every pair."""
    with Site() as one:
        _declare(one)
        one.start("--slots", "8").wait_ready()
        yield one


def _enqueue(site: Site, name: str, pair: Pair, who: str, script: str, inputs: Any) -> str:
    folder = Path(site.files, f"{name}-{who}".replace(" ", "-"))
    folder.mkdir()
    subprocess.run(["/bin/sh", "-c", pair.before], cwd=folder, check=True)
    return site.enqueue(name, script=script, dir=str(folder), **inputs)


def _told(task: Task) -> str:
    return f"{task.state} {task.failure and task.failure.kind} {task.failure and task.failure.reason} {task.verdict}"


@pytest.mark.xdist_group("liars-as-tasks")
@pytest.mark.parametrize("name", PAIRS)
def test_pair(site: Site, name: str) -> None:
    """No liar of the pair is verified, no twin is refused; each ends once, the liars by the class that is meant."""
    pair = PAIRS[name]
    liars = {_enqueue(site, name, pair, who, *act): who for who, act in pair.acts(pair.liars)}
    twins = {_enqueue(site, name, pair, who, *act): who for who, act in pair.acts(pair.twins)}
    ended = site.wait_all([*liars, *twins], 90)
    assert {liars[one] for one in liars if ended[one].state == "verified"} == set()
    assert {twins[one]: _told(ended[one]) for one in twins if ended[one].state != "verified"} == {}
    ends = {(liars[one], (failure := ended[one].failure) and failure.kind) for one in liars}
    assert {end for end in ends if end[1] not in pair.kinds} == set(), json.dumps([_told(ended[one]) for one in liars])
    assert [wrong for one in ended for wrong in one_end(site.snapshot(one))] == []


def test_there_are_twelve_kinds_of_liars() -> None:
    """At least twelve, and each pair has both."""
    assert len(PAIRS) >= 12
    assert [name for name, pair in PAIRS.items() if not pair.liars or not pair.twins] == []
