"""The liars and their twins once more, as tasks of a real worker: enqueued, run by its slots, settled by its door."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.harness import Site, one_end
from tests.acceptance.test_liars import LIARS, PAIRS, PAST, TWINS


def _agent(pair: str) -> str:
    return f"pair_{list(PAIRS).index(pair)}"


def _declare(site: Site) -> None:
    """One agent for each pair: what it runs is an input, so that liar and twin have the very same declaration."""
    toml = site.project / "proofq.toml"
    parts = [toml.read_text()]
    for pair in PAIRS:
        options = "".join(f", {name} = {json.dumps(value)}" for name, value in PAIRS[pair].declared.items())
        parts.append(
            f"[agents.{_agent(pair)}]\n"
            'command = ["/bin/sh", "-c", "{script}"]\n'
            'inputs = { script = "str", dir = "str" }\n'
            'cwd = "{dir}"\n'
            'pass_env = ["PQ_SITE_MARK"]\n'
            "max_attempts = 1\n"
            "timeout_s = 60\n"
            f'proofs = [{{ kind = "file", path = "out.md"{options} }}]\n'
        )
    toml.write_text("\n".join(parts))


def _enqueue(site: Site, pair: str, script: str, folder: Path) -> str:
    folder.mkdir()
    subprocess.run(["/bin/sh", "-c", f"{PAST}; {PAIRS[pair].before}"], cwd=folder, check=True)
    return site.enqueue(_agent(pair), script=script, dir=str(folder))


@pytest.mark.timeout(180)
def test_no_liar_is_verified_and_no_twin_refused() -> None:
    """Every liar and every twin at once on one worker: success is for the twins alone, each settled once."""
    with Site() as site:
        _declare(site)
        site.start("--slots", "8").wait_ready()
        liars = {
            _enqueue(site, pair, PAIRS[pair].liars[name], site.files / f"liar-{number}"): (pair, name)
            for number, (pair, name) in enumerate(LIARS)
        }
        twins = {
            _enqueue(site, pair, PAIRS[pair].twins[name], site.files / f"twin-{number}"): (pair, name)
            for number, (pair, name) in enumerate(TWINS)
        }
        ended = site.wait_all([*liars, *twins], 120)
        assert [liars[one] for one in liars if ended[one].state == "verified"] == []
        assert [twins[one] for one in twins if ended[one].state != "verified"] == []
        for one, (pair, name) in liars.items():
            failure = ended[one].failure
            assert failure is not None
            assert (failure.kind == "unverified") is not pair.startswith("half-written"), (pair, name, failure)
        assert [wrong for one in ended for wrong in one_end(site.snapshot(one))] == []
