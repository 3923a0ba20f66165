"""A program that speaks as claude does, in ways that no real one can be asked for: live, and when it is told to end."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.harness import Site, one_end, program

RETRY = '{"type":"system","subtype":"api_retry","attempt":1,"retry_delay_ms":%s,"error_status":%d,"error":"%s"}'
RESULT = {"type": "result", "subtype": "success", "is_error": False, "num_turns": 1, "result": "done"}

SCRIPT = f"""
result='{json.dumps(RESULT)}'
case "$1" in
    refused)  # Sleeps between tries that are all refused; told to end, it says that all is well.
        trap 'echo "$result"; exit 0' TERM
        echo done > "$2"
        for each in 1 2 3 4 5 6; do echo '{RETRY % (500.5, 401, "authentication_failed")}'; sleep 0.2; done
        sleep 60 & wait ;;
    told_to_wait) echo '{RETRY % (600000, 429, "rate_limit")}'; sleep 60 ;;
    blip) echo '{RETRY % (500.5, 503, "server_error")}'; echo done > "$2"; echo "$result" ;;
    never_exits) echo done > "$2"; echo "$result"; sleep 60 ;;
    is_error) echo done > "$2"; echo "$result" | sed 's/"is_error": false/"is_error": true/' ;;
    after_a_flood) echo done > "$2"; yes '{{"type":"user","content":"."}}' | head -c 30000000; echo; echo "$result" ;;
esac
"""
AGENT = """
[agents.NAME]
command = ["/bin/sh", "{project}/speaks.sh", "{how}", "{out}"]
adapter = "claude"
inputs = { how = "str", out = "str" }
pass_env = ["PQ_SITE_MARK"]
timeout_s = 8
max_attempts = 1
proofs = [{ kind = "file", path = "{out}", sha256 = "DIGEST" }]
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site whose agents speak as claude does; the second looks first."""
    with Site() as made:
        agent = AGENT.replace("DIGEST", hashlib.sha256(b"done\n").hexdigest())
        toml = made.project / "proofq.toml"
        looks = agent.replace("NAME]", "speaks_looks]\nlook_first = true")
        toml.write_text(toml.read_text() + agent.replace("NAME", "speaks") + looks)
        (made.project / "speaks.sh").write_text(SCRIPT)
        made.start().wait_ready()
        yield made


@pytest.mark.parametrize(
    ("agent", "how", "state", "kind", "wait_s"),
    [
        ("speaks", "refused", "held", "auth", None),
        ("speaks", "told_to_wait", "deferred", "rate_limited", 600.0),
        ("speaks", "blip", "verified", None, None),
        ("speaks", "is_error", "failed", "unknown", None),
        ("speaks", "after_a_flood", "verified", None, None),
        ("speaks_looks", "refused", "verified", None, None),
    ],
)
def test_what_it_says_decides(
    site: Site, agent: str, how: str, state: str, kind: str | None, wait_s: float | None
) -> None:
    """Ended at once for what it says live, whatever it says when it is told to end; its proofs alone can say better."""
    task_id = site.enqueue(agent, how=how, out=site.out(f"{agent}-{how}"))
    task = site.wait_for(task_id, state, 30.0)
    failure = task.failure
    assert (failure and failure.kind, failure and failure.retry_after_s) == (kind, wait_s), site.story(task_id)
    [record] = site.snapshot(task_id).attempts
    assert record["ended_at"] - record["started_at"] < 20_000


def test_s32_a_result_without_an_exit(site: Site) -> None:
    """It has said success and stays: dead at its deadline with all it started; what it said is kept, its work found."""
    ends = {"speaks": "failed", "speaks_looks": "verified"}
    ids = {agent: site.enqueue(agent, how="never_exits", out=site.out(f"{agent}-never")) for agent in ends}
    for agent, task_id in ids.items():
        task = site.wait_for(task_id, ends[agent], 30.0)
        assert agent == "speaks_looks" or (task.failure is not None and task.failure.kind == "timeout")
        snapshot = site.snapshot(task_id)
        assert one_end(snapshot) == []
        [record] = snapshot.attempts
        assert record["ended_at"] - record["started_at"] < (8 + 3) * 1000
        [output] = [path for path in site.project.rglob("stdout") if task_id in path.parts]
        assert json.loads(output.read_text().splitlines()[-1]) == RESULT
    own = {one.pid for worker in site.workers for one in worker.processes() if one.role != "child"}
    assert set(site.left()) - own == set()


def test_enqueue_needs_no_declaration(site: Site, tmp_path: Path) -> None:
    """In an empty folder, with the Redis alone: the published catalogue knows the agent, its inputs and its bounds."""
    environ = {name: value for name, value in site.environ().items() if name != "PROOFQ_CONFIG"}
    command = [*program(), "enqueue", "speaks", "-i", "how=blip", "--json"]
    refused = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    command += ["-i", f"out={site.out('from-elsewhere')}"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)
    site.wait_for(json.loads(done.stdout)["id"], "verified", 30.0)
