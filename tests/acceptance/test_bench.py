"""`make bench` measures what it says it measures; how fast anything is, is asserted nowhere."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import redis
from rich.console import Console

from benchmarks import brownout, sides
from benchmarks.askers import ASKERS, AskCeleryByDefault
from benchmarks.brownout import SIZES, Outage, outage
from benchmarks.million import WaitingQueue
from benchmarks.monitor import Monitor
from benchmarks.peers import Peer
from benchmarks.quiet import MOST_BUSY, Loads
from benchmarks.report import quantiles
from benchmarks.sides import Ours, server_with_port
from proofq.workers import declare
from proofq.workers.audit import Audit
from proofq.workers.scripts import RedisRunner
from tests.servers import PrivateServer, binaries

ROOT = Path(__file__).resolve().parents[2]


def test_monitor_counts_exactly_whose_commands_they_are() -> None:
    """A known sequence of a worker, a script and the harness is counted to the command."""
    with server_with_port() as server:
        worker = redis.Redis.from_url(server.url)
        harness = redis.Redis(host="127.0.0.1", port=server.port)
        with Monitor(server.socket, harness) as monitor:
            for number in range(7):
                worker.hset("h", 'a b]"c', number)
            worker.eval("redis.call('INCR', 'n') redis.call('INCR', 'n') return redis.call('HGETALL', 'h')", 0)
            harness.incr("m")
            before = monitor.harness_so_far()
            pipe = worker.pipeline()
            pipe.lpush("l", '[0 lua] "get"')
            pipe.execute()
            harness.ping()
        worker.ping()
    assert _commands(monitor.seen.workers) == {"hset": 7, "eval": 1, "multi": 1, "lpush": 1, "exec": 1}
    assert _commands(monitor.seen.scripts) == {"incr": 2, "hgetall": 1}
    assert _commands(before) == {"incrby": 1}
    assert _commands(monitor.seen.harness) == {"incrby": 1, "ping": 1}


def _commands(counts: Counter[str]) -> dict[str, int]:
    """Without what a new connection says first."""
    return {name: count for name, count in counts.items() if name not in {"hello", "client"}}


def test_a_verified_task_takes_four_commands() -> None:
    """docs/cost.md: one to enqueue it, one lease, two settlements, the last with claim and verdict; one where it ends
    at once, or three where the proof takes its time; else only what the clock makes a worker send."""
    with Ours() as side:
        side.connect(tcp=True)
        # The first one of all makes each script known to the server.
        side.enqueue("write", out=side.out())
        side.wait_done(1, 60.0)
        with Monitor(side.server.socket, side.harness) as monitor:
            side.enqueue("write", out=side.out())
            sent = monitor.harness_so_far()
            side.wait_done(2, 60.0)
        assert side.unproven() == []
        scripts = RedisRunner(side.harness)._scripts
    shas = {script.sha: name for name, script in scripts.items()}
    ran = Counter({shas[sha]: count for sha, count in monitor.seen.evaluated.items()})
    assert _commands(sent) == {"evalsha": 1}
    assert 1 <= ran["settle"] <= 3
    assert ran["lease"] >= 1
    assert ran.keys() <= {"lease", "settle", "beat", "watch"}
    assert monitor.seen.workers.keys() <= {"evalsha", "ping", "hello", "client"}


def _bench(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "benchmarks", *words], cwd=ROOT, capture_output=True, text=True)


def test_a_port_that_somebody_takes_first_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sides that start at the same time look for free ones at the same time."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        ports = iter([other.getsockname()[1], sides._free_port()])
        monkeypatch.setattr(sides, "_free_port", lambda: next(ports))
        with server_with_port() as server:
            assert server.port != other.getsockname()[1]
            socket.create_connection(("127.0.0.1", server.port), 5.0).close()


def test_quantiles_are_by_nearest_rank() -> None:
    """Of 1,000 samples p99 is one of the largest eleven, and the last is the largest."""
    found = quantiles([number / 1000 for number in range(1000, 0, -1)])
    assert found == {"min": 1.0, "p50": 501.0, "p90": 900.0, "p99": 990.0, "max": 1000.0, "samples": 1000}


@pytest.mark.timeout(300)
def test_five_tasks_are_measured_on_both_sides(tmp_path) -> None:
    """The whole run with five tasks: every figure is there and possible, and each task took the commands it takes."""
    out = tmp_path / "figures.json"
    options = [
        "--tasks",
        "5",
        "--rounds",
        "1",
        "--samples",
        "3",
        "--count",
        "5",
        "--idle-s",
        "2",
        "--quiet",
        "--together",
    ]
    done = _bench("stock", *options, "--json", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "at least stock's" in done.stdout
    figures = json.loads(out.read_text())["stock"]
    for side in ("proofq", "proofq, 2 supervisors", "rq"):
        assert figures["throughput"][side]["median"] > 0
        assert figures["cpu_ms_per_task"][side]["median"] > 1
        assert figures["latency_ms"][side]["samples"] == 3
        assert 0 < figures["latency_ms"][side]["p50"] < 30_000
        assert figures["kib_per_task"][side] > 0.5
        assert figures["idle_commands_per_s"][side] > 0
    ours, stock = figures["commands"]["proofq"], figures["commands"]["rq"]
    # All of an attempt in one step, the next lease with it, and besides what the clock makes: beats and looks around.
    assert 1 <= ours["workers"]["evalsha"] < 25
    assert ours["producer"] == {"evalsha": 1}
    assert ours["commandstats"]["lpop"] == 1
    assert stock["producer"]["rpush"] == 1
    # Most of them: one that was there already when a worker came back for more is fetched otherwise.
    assert stock["workers"]["blmove"] > 0


@pytest.mark.skipif(not Peer.installed(), reason="`make peers` installs what the bench measures beside us")
@pytest.mark.timeout(300)
def test_the_peers_do_the_same_work(tmp_path) -> None:
    """A few tasks on every side: each has figures, and each peer's commands are those of its own way."""
    out = tmp_path / "figures.json"
    sizes = ["--rounds", "1", "--tasks", "5", "--fast-tasks", "20", "--count", "5", "--fast-count", "20"]
    options = [*sizes, "--together", "--quiet"]
    done = _bench("peers", *options, "--json", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("looked at") == 5
    figures = json.loads(out.read_text())
    assert set(figures["before"]) == {"loaded", "load_before_each_round", "cores_busy_before_each_round"}
    sides = figures["peers"]
    assert set(sides) == {"proofq async", "rq", "dramatiq", "saq", "arq", "celery"}
    for side in sides.values():
        assert side["tasks_per_s"]["median"] > 0
        assert side["cpu_ms_per_task"]["median"] > 0
        assert side["commands_per_task"] > 2
        assert side["kib_per_task"] >= 0
    assert sides["proofq async"]["commands"]["producer"] == {"evalsha": 1}
    assert {"serve", "verifier", "tasks"} <= set(sides["proofq async"]["cpu_ms_per_task"]["by_process"])
    assert sides["dramatiq"]["commands"]["producer"] == {"evalsha": 1}
    assert sides["celery"]["commands"]["producer"] == {"lpush": 1}
    assert sides["saq"]["commands"]["workers"]["blmove"] == 1
    assert sides["arq"]["commands"]["workers"]["psetex"] == 1


@pytest.mark.skipif(not Peer.installed(), reason="`make peers` installs what the bench measures beside us")
def test_an_outage_is_counted() -> None:
    """A second of 503 costs a side without retries a task for each request; the one before it is not counted."""
    seen = outage(AskCeleryByDefault, 2, 1.0)
    # On a machine that is busy enough a task begins only after it.
    assert (seen.sent + seen.after, seen.lost) == (2, seen.sent)


@pytest.mark.parametrize(("sent", "said"), [(12, "yes"), (13, "NO")])
def test_what_is_wanted_in_an_outage_is_said(sent: int, said: str) -> None:
    """Of the sizes for which it is wanted alone, and of the side that it is wanted of."""
    sides = {kind.name: vars(Outage(kind.told, 100, 100, 1, 7.0)) for kind in ASKERS}
    sides[ASKERS[0].name] |= {"sent": sent, "lost": 0, "drain_s": 5.0}
    tables = []
    for tasks in (SIZES["outage_tasks"], 3):
        console = Console(record=True, width=140, quiet=False, file=io.StringIO())
        brownout.show({"tasks": tasks, "outage_s": SIZES["outage_s"], "sides": sides}, console)
        tables.append(console.export_text())
    assert [f" {sent} " in table and ASKERS[-1].told in table for table in tables] == [True, True]
    wanted = [line for line in tables[0].splitlines() if "at most" in line]
    assert [said in line for line in wanted] == [True, said == "yes", said == "yes"]
    assert "at most" not in tables[1]


def test_a_busy_machine_is_called_one() -> None:
    """A core that others use counts, its user having to say nothing; so does the load, which is only told."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        loads = Loads()
        before = loads.before_round()
    finally:
        for one in spinning:
            one.kill()
            one.wait()
    assert before.busy > MOST_BUSY
    assert loads.loaded
    assert loads.figures()["load_before_each_round"] == [round(before.load, 2)]


def test_idle_dispatch_is_measured_of_both_producers(tmp_path) -> None:
    """A few samples: our producers are quicker than a look around, and plain RQ's are served by one."""
    out = tmp_path / "figures.json"
    done = _bench("dispatch", "--samples", "5", "--rq-samples", "1", "--quiet", "--json", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(out.read_text())["dispatch"]
    for what in ("ours", "ours_with_file_proof", "ours_to_lease"):
        assert figures[what]["samples"] == 5
    assert 0 <= figures["ours_to_lease"]["p50"] < figures["ours"]["p50"] + 1
    assert figures["plain_rq"]["samples"] == 1
    assert figures["plain_rq"]["max"] > 0


def test_waiting_tasks_are_filled_in_as_enqueued(tmp_path, monkeypatch) -> None:
    """Sixty tasks made by the loader wait like enqueued ones, are leased, and each call is timed on both servers."""
    out = tmp_path / "figures.json"
    done = _bench("million", "--waiting", "60", "--calls", "10", "--quiet", "--json", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(out.read_text())["million"]
    assert figures["waiting"] == 60
    assert 500 < figures["fill"]["bytes_each"] < 10_000
    for calls in figures["ms"].values():
        assert {what: found["samples"] for what, found in calls.items()} == {
            "enqueue": 10, "lease": 10, "empty": 10,
        }  # fmt: skip
    # No worker publishes them, so its agents are imported, which declares them to all that runs in this process later.
    monkeypatch.setattr(declare, "_declared", [])
    with PrivateServer(binaries()[0]) as server:
        queue = WaitingQueue(server)
        queue.fill(60, Console(quiet=True))
        queue.enqueue()
        queue.lease(queue.queues)
        report = Audit(queue.store).run()
    assert report.checked == 61
    assert report.violations == []


def test_waits_beside_a_slow_agent_are_measured(tmp_path) -> None:
    """A round of a few short tasks: the waits of both sides, and what the slow one had of the slots."""
    out = tmp_path / "figures.json"
    done = _bench("fair", "--rounds", "1", "--fair-tasks", "3", "--fair-run-s", "0.05", "--quiet", "--json", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = json.loads(out.read_text())["fair"]["rounds"]
    for side in ("without", "with"):
        assert found[side]["samples"] == 27
        assert 0 <= found[side]["min"] <= found[side]["p50"] <= found[side]["p95"] <= found[side]["max"]
    assert 0 <= found["most_slow"] <= 8
