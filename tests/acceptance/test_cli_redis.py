"""`proofq redis` and `proofq doctor`: the embedded server, and what is not as it must be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proofq.workers.cli import exit_codes
from tests.commands import Project
from tests.servers import PrivateServer


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Project]:
    """A project with an embedded Redis of its own, which is stopped at the end."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    project = Project(tmp_path / "e", None)
    yield project
    project("redis", "stop")


# --- the embedded server -------------------------------------------------------------------------------------------


def test_start_url_stop(embedded: Project) -> None:
    """It is stopped, started, found, and stopped again; tasks survive that."""
    assert embedded("redis", "--json").document["state"] == "stopped"
    started = embedded("redis", "start", "--json").document
    assert (started["state"], started["url"]) == ("running", embedded("redis", "url", "--json").document["url"])
    assert embedded("redis", "url").stdout.strip() == started["url"]
    task_id = embedded("enqueue", "liar").stdout.strip()
    assert embedded("redis", "stop", "--json").document["stopped"] is True
    assert embedded("redis", "stop", "--json").document["stopped"] is False
    # The next command that needs it starts it again.
    assert embedded("show", task_id, "--json").document["state"] == "queued"


def test_a_named_redis_is_never_replaced(project: Project) -> None:
    """With a URL given there is nothing to start or stop, and `url` says that one."""
    url = project.environ["PROOFQ_REDIS_URL"]
    assert project("redis", "url", "--json").document["url"] == url
    for words in (["redis", "start"], ["redis", "stop"], ["redis"]):
        done = project(*words, "--json")
        assert (done.code, done.error) == (exit_codes.ERROR, "refused")
    assert not (project.root / ".proofq" / "redis").exists()


def test_an_empty_url_is_refused(embedded: Project) -> None:
    """A variable that is set but empty is a mistake, not the embedded Redis: exit 7."""
    done = embedded("tasks", "--json", env={"PROOFQ_REDIS_URL": ""})
    assert (done.code, done.error) == (exit_codes.REDIS, "redis_unavailable")


# --- doctor --------------------------------------------------------------------------------------------------------


def _checks(project: Project) -> tuple[int, dict[str, dict[str, Any]]]:
    done = project("doctor", "--json")
    checks = {check["name"]: check for check in done.document["checks"]}
    assert done.document["ok"] == all(check["ok"] for check in checks.values()) == (done.code == 0)
    return done.code, checks


def test_doctor_names_what_it_looks_at(embedded: Project) -> None:
    """On a sound embedded place every check holds and says what was seen."""
    code, checks = _checks(embedded)
    assert code == 0, checks
    assert checks.keys() >= {"python", "package", "project", "threads", "state_dir", "limits", "redis", "clock"}
    assert "embedded" in checks["redis"]["detail"]
    assert "append-only" in checks["redis_persistence"]["detail"]
    assert "birth times" in checks["state_dir"]["detail"]
    assert "SENTRY_DSN is not set" in checks["sinks"]["detail"]


@pytest.mark.parametrize(
    ("setting", "value", "check"),
    [("maxmemory-policy", "allkeys-lru", "redis_memory"), ("maxmemory", "1", "redis_memory")],
)
def test_doctor_finds_a_redis_that_would_lose_tasks(
    project: Project, redis_client: Any, setting: str, value: str, check: str
) -> None:
    """An eviction policy that drops keys, and memory that is full: exit 1, named, with what to do."""
    before = redis_client.config_get(setting)
    redis_client.config_set(setting, value)
    try:
        code, checks = _checks(project)
    finally:
        redis_client.config_set(setting, next(iter(before.values())))
    assert (code, checks[check]["ok"]) == (exit_codes.ERROR, False)


def test_doctor_finds_a_redis_that_keeps_nothing(tmp_path: Path, redis_binary: str) -> None:
    """Neither append-only file nor snapshots: exit 1; with snapshots the loss is told."""
    with PrivateServer(redis_binary, config={"appendonly": "no"}) as server:
        project = Project(tmp_path, server.url)
        code, checks = _checks(project)
        assert (code, checks["redis_persistence"]["ok"]) == (exit_codes.ERROR, False)
        project.session().store.client.config_set("save", "60 1")
        code, checks = _checks(project)
        assert (code, "snapshots only" in checks["redis_persistence"]["detail"]) == (0, True)


def test_doctor_lives_through_whatever_is_wrong(tmp_path: Path) -> None:
    """No Redis, a state directory that cannot be made, a module that cannot be imported: all told, exit 1, not 7."""
    toml = 'modules = ["broken_module"]\n[agents.a]\ncommand = ["true"]\nunproven = true\n'
    project = Project(tmp_path / "x", f"unix://{tmp_path}/nobody", toml)
    (project.root / "broken_module.py").write_text("raise RuntimeError('on import')\n")
    (project.root / ".proofq").write_text("a file stands where the directory should")
    code, checks = _checks(project)
    assert code == exit_codes.ERROR
    assert {name for name, check in checks.items() if not check["ok"]} == {"project", "state_dir", "redis"}
    assert "on import" in checks["project"]["detail"]


def test_doctor_names_the_module_that_leaves_a_thread(project: Project) -> None:
    """An agents' module that starts a thread cannot be forked from, and is named."""
    (project.root / "proofq.toml").write_text('modules = ["threaded"]\n')
    (project.root / "threaded.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    code, checks = _checks(project)
    assert (code, checks["threads"]["ok"]) == (exit_codes.ERROR, False)
    assert "threaded" in checks["threads"]["detail"]


def test_doctor_finds_a_package_that_is_shadowed(project: Project, tmp_path: Path) -> None:
    """A user's own folders workers/ and policies/ change nothing, and the check says where the code is."""
    for name in ("workers", "policies"):
        (project.root / name).mkdir()
        (project.root / name / "__init__.py").write_text("raise RuntimeError('not mine')\n")
    code, checks = _checks(project)
    assert (code, checks["package"]["ok"]) == (0, True)


def test_doctor_tries_the_addresses_of_those_who_are_told(project: Project) -> None:
    """One that is none fails the check, by the name of its variable; what it holds stands nowhere."""
    for urls, ok in (("wat://pagesecret", False), ("json://user:pagesecret@127.0.0.1:9/", True)):
        project.environ |= {"SENTRY_DSN": "http://sentrysecret@127.0.0.1:9/42", "PROOFQ_NOTIFY_URLS": urls}
        code, checks = _checks(project)
        assert (code == 0, checks["sinks"]["ok"]) == (ok, ok)
        assert ("apprise and sentry" if ok else "PROOFQ_NOTIFY_URLS: ") in checks["sinks"]["detail"]
        assert "secret" not in str(checks)


def test_doctor_says_when_limits_are_low(project: Project) -> None:
    """More slots than files may be opened: exit 1."""
    (project.root / "proofq.toml").write_text("[worker]\nslots = 4096\nmeta_slots = 4096\n")
    code, checks = _checks(project)
    assert (code, checks["limits"]["ok"]) == (exit_codes.ERROR, False)
    assert "open files" in checks["limits"]["detail"]
