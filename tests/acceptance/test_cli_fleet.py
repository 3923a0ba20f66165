"""`agents`, `workers`, `pause`, `resume` and `drain`: what operators see of the fleet, and do to it."""

from __future__ import annotations

from typing import Any

from proofq.policies import lifecycle
from proofq.workers import keys
from proofq.workers.cli import exit_codes
from tests.acceptance.harness import Site
from tests.commands import Done, Inside, Project
from tests.waiting import until
from tests.workbench import Bench


def _items(done: Done) -> list[dict[str, Any]]:
    assert done.code == 0, done
    items: list[dict[str, Any]] = done.document["items"]
    return items


def _agents(inside: Inside) -> dict[str, dict[str, Any]]:
    return {item["agent"]: item for item in _items(inside("agents", "--json"))}


# --- agents --------------------------------------------------------------------------------------------------------


def test_agents_without_anything(inside: Inside) -> None:
    """Nobody has ever declared anything here: an empty list, and a sentence."""
    assert _items(inside("agents", "--json")) == []
    assert "no agents" in inside("agents").stdout


def test_agents_and_who_declares_them(inside: Inside, project: Project, bench: Bench) -> None:
    """Served ones with their workers, waiting, running and later counts; the unserved while they have tasks."""
    for state in ("running", "deferred", "held", "failed"):
        bench.to(project.enqueue(), state)
    project.enqueue()
    project.enqueue("slow", seconds=1)
    shown = _agents(inside)
    assert shown.keys() == {"note", "liar", "slow"}
    note = shown["note"]
    assert (note["lane"], note["served"], note["workers"], note["paused"]) == ("work", True, ["bench-worker"], None)
    assert note["versions"] == [{"version": "bench-version", "workers": ["bench-worker"]}]
    assert (note["waiting"], note["running"], note["later"]) == (1, 1, 2)
    assert (shown["slow"]["served"], shown["slow"]["workers"], shown["slow"]["waiting"]) == (False, [], 1)
    assert "no worker" in inside("agents").stdout
    bench.forget_agents()
    assert not _agents(inside)["note"]["served"]
    assert "liar" not in _agents(inside)


def test_two_versions_of_one_agent_are_seen(inside: Inside, project: Project, bench: Bench, opened: Any) -> None:
    """Half-way through a deploy each version has its workers, and people see a row for each."""
    Bench(opened, "note", owner="newer")
    bench.store.client.hset(keys.owner("newer"), mapping={"versions": '{"note":"fedcba98"}', "name": "newer-worker"})
    assert _agents(inside)["note"]["versions"] == [
        {"version": "bench-version", "workers": ["bench-worker"]},
        {"version": "fedcba98", "workers": ["newer-worker"]},
    ]
    lines = inside("agents").stdout.splitlines()
    assert [line for line in lines if "bench-worker" in line] != [line for line in lines if "newer-worker" in line]


def test_agents_of_both_lanes_with_a_real_worker() -> None:
    """A real worker says version and lane of each agent, and no agent is listed for a lane that is not its own."""
    with Site({"slots": 1, "meta_slots": 1}) as site:
        toml = site.project / "proofq.toml"
        toml.write_text(toml.read_text() + '\n[agents.watcher]\ncommand = ["true"]\nlane = "meta"\nunproven = true\n')
        site.start().wait_ready()
        until(lambda: len(_items(site.inside("workers", "--json"))) == 2, 30, "both lanes")
        shown = _items(site.inside("agents", "--json"))
        by_name = {item["agent"]: item for item in shown}
        assert len(by_name) == len(shown)
        assert (by_name["watcher"]["lane"], by_name["loop"]["lane"]) == ("meta", "work")
        assert all(item["served"] and len(item["versions"]) == 1 for item in shown)
        assert [each["version"] for each in by_name["loop"]["versions"]] == [by_name["loop"]["version"]]


# --- workers -------------------------------------------------------------------------------------------------------


def test_workers_and_what_they_hold(inside: Inside, project: Project, bench: Bench) -> None:
    """The contract's fields, the tasks held, and when it was seen; the silent keep their place."""
    assert inside("workers").code == 0
    task_id = project.enqueue()
    bench.run(task_id)
    [item] = _items(inside("workers", "--json"))
    assert item.keys() >= {"name", "host", "pid", "lane", "slots", "state", "tasks", "version", "seen_s"}
    assert (item["name"], item["host"], item["tasks"]) == ("bench-worker", "bench-host", [task_id])
    assert item["version"] == "0.0.0"
    assert 0 <= item["seen_s"] < 60
    deadline = bench.store.client.zscore(keys.OWNERS, bench.owner)
    bench.store.client.zadd(keys.OWNERS, {bench.owner: deadline - 100_000})
    assert 100 <= _items(inside("workers", "--json"))[0]["seen_s"] < 160
    bench.store.client.zadd(keys.OWNERS, {bench.owner: 1})
    assert _items(inside("workers", "--json"))[0]["state"] == "silent"
    assert task_id in inside("workers").stdout


def test_workers_without_any(inside: Inside) -> None:
    """An empty list, and a sentence that says how to start one."""
    assert _items(inside("workers", "--json")) == []
    assert "`proofq worker` starts one" in inside("workers").stdout


# --- pause and resume ----------------------------------------------------------------------------------------------


def test_pause_is_seen_everywhere(inside: Inside, project: Project, bench: Bench) -> None:
    """show, why, status and agents say so while it lasts, and no more afterwards; both acts are idempotent."""
    task_id = project.enqueue()
    [done] = _items(inside("pause", "note", "--json"))
    assert (done["agent"], done["paused"], done["changed"]) == ("note", True, True)
    assert done["by"].startswith("cli:")
    [again] = _items(inside("pause", "note", "--json"))
    assert (again["changed"], again["since"]) == (False, done["since"])
    shown = inside("show", task_id, "--json").document
    assert (shown["state"], shown["waiting_for"]) == ("queued", {"what": "paused", "name": "note", "until": None})
    assert "proofq resume note" in inside("why", task_id, "--json").document["next"]
    status = inside("status", "--json").document
    assert [each["agent"] for each in status["paused"]] == ["note"]
    assert any(
        "agent note is paused" in sentence and "1 task must wait" in sentence for sentence in status["attention"]
    )
    assert _agents(inside)["note"]["paused"]["since"] == done["since"]
    assert "paused" in inside("agents").stdout
    assert "already" in inside("pause", "note").stdout
    assert "is resumed" in inside("resume", "note").stdout
    [idle] = _items(inside("resume", "note", "--json"))
    assert (idle["paused"], idle["changed"], idle["since"]) == (False, False, None)
    assert inside("show", task_id, "--json").document["waiting_for"] is None
    assert inside("status", "--json").document["paused"] == []


def test_an_agent_nobody_knows_is_not_paused(inside: Inside, project: Project) -> None:
    """Exit 2 with the nearest name; one that has only tasks, or only a declaration here, can be paused."""
    done = inside("pause", "nota", "--json")
    assert (done.code, done.error) == (exit_codes.USAGE, "unknown_agent")
    assert "Did you mean note?" in done.document["error"]["message"]
    assert inside("resume", "nobody", "--json").code == exit_codes.USAGE
    assert inside("pause", "liar").code == 0
    assert project("enqueue", "stranger", "--undeclared").code == 0
    assert inside("pause", "stranger").code == 0
    (project.root / "proofq.toml").write_text("")
    assert _agents(inside)["liar"]["paused"] is not None
    assert inside("resume", "liar").code == 0


def test_a_broken_project_keeps_nobody_from_pausing(inside: Inside, project: Project) -> None:
    """What stands in proofq.toml need not be readable: the agent is known by its tasks."""
    project.enqueue()
    (project.root / "proofq.toml").write_text("[agents.note")
    [done] = _items(inside("pause", "note", "--json"))
    assert done["changed"]
    assert inside("resume", "note").code == 0
    assert inside("pause", "nota", "--json").error == "unknown_agent"


def test_a_paused_agent_on_a_real_worker() -> None:
    """What runs ends, what is queued waits through the worker's restart, others run, and resumed it runs in order."""
    with Site({"slots": 1, "meta_slots": 0}) as site:
        first = site.start().wait_ready()
        running = site.enqueue("write", out=site.out("a"), text="a", run_s=2.0)
        site.wait_for(running, lifecycle.RUNNING)
        assert site.inside("pause", "write").code == 0
        waiting = [site.enqueue("write", out=site.out(f"w{n}"), text="w", run_s=0.0) for n in range(3)]
        site.wait_for(running, lifecycle.VERIFIED)
        other = site.enqueue("quick")
        site.wait_for(other, lifecycle.TERMINAL)
        first.term()
        assert first.wait(30) == 0
        site.start().wait_ready()
        later = site.enqueue("quick")
        site.wait_for(later, lifecycle.TERMINAL)
        assert [site.events(task_id) for task_id in waiting] == [["enqueue"]] * 3
        assert site.inside("resume", "write").code == 0
        site.wait_all(waiting, 30)
        leased = [next(crumb.at for crumb in site.snapshot(one).crumbs if crumb.event == "lease") for one in waiting]
        assert leased == sorted(leased)
        assert {site.task(one).state for one in waiting} == {lifecycle.VERIFIED}


def test_a_burst_does_not_wait_for_the_paused(project: Project) -> None:
    """Nothing that may run is left: it ends with 0, and the paused task is queued still."""
    task_id = project.enqueue("steady", seconds=0)
    assert project.inside("pause", "steady").code == 0
    assert project("worker", "--burst", within_s=60).code == 0
    assert project.inside("show", task_id, "--json").document["state"] == "queued"


# --- drain ---------------------------------------------------------------------------------------------------------


def test_drain_from_afar_is_a_term() -> None:
    """Both lanes hear it at once: what runs ends, nothing new is taken, and the launcher exits with 0."""
    with Site({"slots": 1, "meta_slots": 1}) as site:
        worker, other = site.start(drain_s=60).wait_ready(), site.start("--lane", "meta").wait_ready()
        until(lambda: len(site.owner_rows()) == 3, 30, "three lanes")
        task_id = site.enqueue("hang", until=site.out("go"))
        site.wait_for(task_id, lifecycle.RUNNING)
        name = next(iter(worker.owners().values()))["name"]
        asked = _items(site.inside("drain", name, "--json"))
        assert {(each["lane"], each["pid"]) for each in asked} == {
            ("work", worker.process.pid), ("meta", worker.process.pid),
        }  # fmt: skip
        site.wait_owner_state(worker, "draining")
        assert site.inside("drain", name).code == 0
        later = site.enqueue("quick")
        assert site.task(task_id).state == lifecycle.RUNNING
        (site.files / "go").touch()
        assert worker.wait(30) == 0
        assert site.task(task_id).state == lifecycle.FINISHED_UNPROVEN
        assert site.events(later) == ["enqueue"]
        assert other.is_ready()
        gone = site.inside("drain", name, "--json")
        assert (gone.code, gone.error) == (exit_codes.ERROR, "unknown_worker")


def test_a_term_after_a_drain_hurries() -> None:
    """Asked for twice through Redis it still takes its time; one TERM then skips what is left of it."""
    with Site({"slots": 1, "meta_slots": 1}) as site:
        worker = site.start(drain_s=300).wait_ready()
        task_id = site.enqueue("hang")
        site.wait_for(task_id, lifecycle.RUNNING)
        name = next(iter(worker.owners().values()))["name"]
        assert site.inside("drain", name).code == site.inside("drain", name).code == 0
        site.wait_owner_state(worker, "draining")
        assert site.task(task_id).state == lifecycle.RUNNING
        worker.term()
        assert worker.wait(30) == 0
        assert site.snapshot(task_id).attempts[-1]["outcome"] == "given_back"


def test_drain_of_nobody(inside: Inside, bench: Bench) -> None:
    """Exit 1 with the nearest names; one that is dead, or too old to hear it, is told as such."""
    done = inside("drain", "bench-workers", "--json")
    assert (done.code, done.error) == (exit_codes.ERROR, "unknown_worker")
    assert "Did you mean bench-worker?" in done.document["error"]["message"]
    bench.store.client.hdel(keys.owner(bench.owner), "release")
    old = inside("drain", "bench-worker", "--json")
    assert (old.code, old.error) == (exit_codes.ERROR, "refused")
    assert "send TERM" in old.document["error"]["message"]
    bench.store.client.zadd(keys.OWNERS, {bench.owner: 0})
    assert "The worker bench-worker is dead." in inside("drain", "bench-worker").stderr
