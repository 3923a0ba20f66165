"""rq-dashboard, as the extra `web` installs it, beside real tasks: people who know RQ see them."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proofq.policies import lifecycle
from tests.commands import Project
from tests.servers import PrivateServer
from tests.waiting import until
from tests.workbench import Bench


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def dashboard(tmp_path: Path, redis_server: PrivateServer) -> Iterator[int]:
    """The port of a running dashboard on loopback."""
    program = shutil.which("rq-dashboard", path=str(Path(sys.executable).parent))
    assert program, "the extra web is not installed"
    port = _free_port()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "--bind", "127.0.0.1", "--port", str(port), "--json", "--disable-delete"],
            cwd=tmp_path, env={"PATH": os.environ["PATH"], "RQ_DASHBOARD_REDIS_URL": redis_server.url},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            until(lambda: _answers(port) or process.poll() is not None, 30, "the dashboard")
            assert process.poll() is None, (tmp_path / "log").read_text()
            yield port
        finally:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    try:
        return _get(port, "/")[0] == 200
    except OSError:
        return False


def _get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _document(port: int, path: str) -> Any:
    status, body = _get(port, path)
    assert status == 200, body
    return json.loads(body)


def test_the_dashboard_lists_our_queues_and_tasks(project: Project, bench: Bench, dashboard: int) -> None:
    """Its page answers, our queue stands in it with its counts, and a failed and a waiting task are found."""
    failed = project.enqueue()
    bench.to(failed, lifecycle.FAILED)
    waiting = project.enqueue()
    [queue] = _document(dashboard, "/0/data/queues.json")["queues"]
    assert queue["name"] == "work.note"
    assert queue["count"] == 1
    assert queue["failed_job_registry_count"] == 1
    jobs = _document(dashboard, "/0/data/jobs/work.note/queued/8/asc/1.json")["jobs"]
    assert [job["id"] for job in jobs] == [waiting]
    jobs = _document(dashboard, "/0/data/jobs/work.note/failed/8/asc/1.json")["jobs"]
    assert [job["id"] for job in jobs] == [failed]
    job = _document(dashboard, f"/0/data/job/{failed}.json")
    assert (job["status"], job["description"]) == ("failed", "note")
