"""A provider's key reaches its agents, and stands nowhere afterwards: not in Redis, not in a log, not in a file."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.harness import Site, program

KEY = 'key-"with"-quotes-4711'

AGENTS = r"""
[providers.leaky]
key_env = "LEAKY_KEY"

[agents.key_prints]
command = ["/bin/sh", "-c", 'env; printf "%s\n" "$LEAKY_KEY" "$LEAKY_KEY" | tee /dev/stderr']
provider = "leaky"
unproven = true

[agents.key_dies]
command = ["/bin/sh", "-c", 'echo "Unexpected $LEAKY_KEY" >&2; exit 3']
provider = "leaky"
max_attempts = 1
unproven = true

[agents.key_claims]
command = ["/bin/sh", "{project}/claims.sh", "{project}/result.json"]
adapter = "claude"
provider = "leaky"
unproven = true
"""
MODULE = '''
import os

import proofq


@proofq.agent(provider="leaky", unproven=True)
def key_returns(ctx) -> dict:
    """Return the key, whole and in pieces of JSON."""
    ctx.progress({"at": os.environ["LEAKY_KEY"]})
    return {"key": os.environ["LEAKY_KEY"], "more": [{os.environ["LEAKY_KEY"]: 1}]}


@proofq.agent(provider="leaky", unproven=True, max_attempts=1)
def key_raises(ctx) -> None:
    """Fail with the key in the text."""
    raise RuntimeError("refused: " + os.environ["LEAKY_KEY"])
'''
RESULT = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "num_turns": 1,
    "result": "KEY",
    "session_id": "KEY",
}
#: By agent, how its task ends.
ENDS = {
    "key_prints": "finished_unproven",
    "key_dies": "quarantined",
    "key_claims": "finished_unproven",
    "key_returns": "finished_unproven",
    "key_raises": "quarantined",
}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site whose worker has the key, and agents that give it away."""
    with Site() as made:
        toml = made.project / "proofq.toml"
        text = toml.read_text().replace('modules = ["agents"', 'modules = ["agents", "leaky"', 1)
        toml.write_text(text + AGENTS)
        (made.project / "leaky.py").write_text(MODULE)
        (made.project / "result.json").write_text(json.dumps(RESULT))
        (made.project / "claims.sh").write_text(
            'escaped=$(printf %s "$LEAKY_KEY" | sed \'s/"/\\\\\\\\"/g\'); sed "s/KEY/$escaped/g" "$1"\n'
        )
        made.start(environ={"LEAKY_KEY": KEY}).wait_ready()
        yield made


def stored(site: Site) -> Iterator[tuple[str, bytes]]:
    """Every name and value in Redis, whatever its type."""
    client: Any = site.client
    for name in client.scan_iter():
        kind = client.type(name).decode()
        reads = {
            "string": lambda key: [client.get(key)],
            "hash": lambda key: [part for pair in client.hgetall(key).items() for part in pair],
            "list": lambda key: client.lrange(key, 0, -1),
            "set": lambda key: list(client.smembers(key)),
            "zset": lambda key: client.zrange(key, 0, -1),
            "stream": lambda key: [repr(entry).encode() for entry in client.xrange(key)],
        }
        for value in [name, *reads[kind](name)]:
            yield name.decode(), value


def test_the_key_arrives_and_is_kept_nowhere(site: Site) -> None:
    """Printed, claimed, returned, raised: in each place where it could be kept stands [key]."""
    ids = {agent: site.enqueue(agent) for agent in ENDS}
    for agent, task_id in ids.items():
        site.wait_for(task_id, ENDS[agent], 60.0)
    spellings = [KEY, json.dumps(KEY)[1:-1], json.dumps(json.dumps(KEY)[1:-1])[1:-1]]
    found = [name for name, value in stored(site) for each in spellings if each.encode() in value]
    assert found == []
    kept = [path for path in site.root.rglob("*") if path.is_file()]
    assert [str(path) for path in kept for each in spellings if each.encode() in path.read_bytes()] == []
    for agent, task_id in ids.items():
        command = [*program(), "show", task_id, "--json"]
        shown = subprocess.run(command, capture_output=True, text=True, env=site.environ(), check=True).stdout
        assert "[key]" in shown, (agent, shown)
        assert not any(each in shown for each in spellings)
    outputs = [path.read_text() for path in kept if path.name in {"stdout", "stderr"}]
    assert sum(text.count("[key]") for text in outputs) >= 6
