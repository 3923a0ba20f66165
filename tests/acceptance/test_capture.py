"""What an attempt gets, prints, returns and leaves behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from proofq.policies import lifecycle
from proofq.workers import places
from proofq.workers.output import CAP_BYTES, TAIL_BYTES
from proofq.workers.places import Places
from proofq.workers.record import Task
from tests.acceptance.harness import Site, one_end


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site whose worker knows more than its agents may."""
    with Site() as one:
        secrets = {"PQ_PASSED": "passed on", "PQ_KEPT": "kept back", "REDIS_URL": one.server.url}
        one.start(environ=secrets).wait_ready()
        yield one


def _ended(site: Site, task_id: str, state: str = lifecycle.FINISHED_UNPROVEN) -> Task:
    task = site.wait_for(task_id, state)
    assert one_end(site.snapshot(task_id)) == []
    return task


def _places(site: Site, task_id: str, attempt: int = 1) -> Places:
    return places.of(site.session.project.state_dir, task_id, attempt)


def test_flood_is_capped_and_keeps_its_end(site: Site) -> None:
    """Five megabytes on each stream: at most the cap on disk, the newest kept, the last line in the claim."""
    task_id = site.enqueue("flood", bytes=5_000_000, last="the very last line")
    task = _ended(site, task_id)
    here = _places(site, task_id)
    for path in (here.stdout, here.stderr):
        assert CAP_BYTES // 2 <= path.stat().st_size <= CAP_BYTES
        assert path.read_bytes().endswith(b"\nthe very last line\n")
        assert path.stat().st_mode & 0o777 == 0o600
    assert task.claim["exit_code"] == 0
    assert task.claim["output_tail"].endswith("the very last line\n")
    assert len(task.claim["output_tail"]) <= 2 * TAIL_BYTES


def test_binary_garbage_is_kept_as_it_was(site: Site) -> None:
    """Bytes that are no text are on disk as printed, and readable in the claim."""
    task_id = site.enqueue("garbage")
    task = _ended(site, task_id)
    here = _places(site, task_id)
    assert here.stdout.read_bytes() == b"\xff\xfe\0\x1b[31mrot\x80 ende"
    assert here.stderr.read_bytes() == b"\xc3("
    assert "rot" in task.claim["output_tail"]


def test_stdin_and_strict_document(site: Site) -> None:
    """A document given on stdin comes back as the claim, whatever characters it holds."""
    document = {"text": "Zoë 木 \U0001f600 \u2028 \x7f", "list": [1, 2.5, None, True], "nested": {"": " "}}
    task = _ended(site, site.enqueue("echo", document=document), lifecycle.VERIFIED)
    assert task.claim == document


def test_result_of_a_function_goes_round(site: Site) -> None:
    """What a function returns is the claim, character for character, for RQ's readers too."""
    word = 'Zoë 木 \U0001f600 \u2028 \\ " \x7f'
    task_id = site.enqueue("quick", word=word)
    assert _ended(site, task_id).claim == {"word": word}
    assert site.snapshot(task_id).results[-1]["type"] == "1"


def test_environment_is_the_contracts(site: Site) -> None:
    """PATH, LANG, HOME, TMPDIR, the task's id and attempt, what was declared; nothing of the worker's own."""
    task_id = site.enqueue("environment", who="me")
    task = _ended(site, task_id)
    told = task.claim["output_tail"].split("\0")
    env = dict(line.split("=", 1) for line in told if line)
    here = _places(site, task_id)
    marker = env.pop("PROOFQ_OWNER")
    assert marker.startswith(site.workers[0].owner)
    assert env == {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": here.home,
        "TMPDIR": here.tmp,
        "PROOFQ_TASK_ID": task_id,
        "PROOFQ_ATTEMPT": "1",
        "SAID": f"task {task_id} attempt 1 of me",
    }
    for folder in (here.home, here.tmp, here.workdir):
        assert Path(folder).stat().st_mode & 0o777 == 0o700


def test_pass_env_passes_what_it_names(site: Site) -> None:
    """A variable of the worker's that is named is passed, another one is not."""
    assert _ended(site, site.enqueue("pass_on")).claim["output_tail"] == "passed on\nunset\n"


def test_no_process_below_the_supervisor_shows_the_redis_url(site: Site) -> None:
    """Neither the forkserver, nor the verifier, nor an agent has the URL in its environment."""
    task_id = site.enqueue("hang", run_s=5.0)
    site.wait_for(task_id, lifecycle.RUNNING)
    site.wait_for(site.enqueue("echo", document={}), lifecycle.VERIFIED)
    below = [one for one in site.workers[0].processes() if one.role not in {"launcher", "supervisor"}]
    assert {one.role for one in below} >= {"forkserver", "verifier", "child"}
    shown = [one for one in below if site.server.url.encode() in Path(f"/proc/{one.pid}/environ").read_bytes()]
    assert shown == []


@pytest.mark.parametrize(
    ("how", "kind", "reason"),
    [
        ("raise", "crash", "on purpose"),
        ("os_exit_0", "crash", "exited without returning"),
        ("sys_exit_0", "crash", ""),
        ("sys_exit_3", "crash", ""),
    ],
)
def test_functions_that_do_not_return(site: Site, how: str, kind: str, reason: str) -> None:
    """An exception, sys.exit or os._exit(0) is no result, also with exit code 0."""
    task = _ended(site, site.enqueue("broken", how=how), lifecycle.QUARANTINED)
    assert task.failure is not None
    assert task.failure.kind == kind
    assert reason in task.failure.reason


@pytest.mark.parametrize(("code", "kind"), [(1, "crash"), (3, "crash"), (137, "resource"), (143, "crash")])
def test_exit_codes_of_commands(site: Site, code: int, kind: str) -> None:
    """A non-zero exit is a failure with its last words; shells' codes for signals mean the signal."""
    task = _ended(site, site.enqueue("exit_code", code=code), lifecycle.QUARANTINED)
    assert task.failure is not None
    assert task.failure.kind == kind
    if kind == "crash":
        assert "last words" in task.failure.reason


def test_missing_program_never_starts(site: Site) -> None:
    """A program that is not there is told as such, and is not tried for ever."""
    task_id = site.enqueue("missing_program")
    site.wait_for(task_id, lifecycle.DEFERRED)
    record = site.snapshot(task_id).attempts[0]
    assert (record["class"], record["counted"]) == ("start_unconfirmed", False)
    assert "no-such-program-anywhere" in record["reason"]
    assert "start" not in site.events(task_id)


def test_exit_0_after_our_signal_is_no_success(site: Site) -> None:
    """A command that answers TERM with exit 0 at its deadline has timed out."""
    task = _ended(site, site.enqueue("smiles_at_term"), lifecycle.FAILED)
    assert task.failure is not None
    assert task.failure.kind == "timeout"


def test_what_is_left_running_is_dead_before_the_proofs_run(site: Site) -> None:
    """Background processes that hold the pipes or write to the proven file delay nothing and are killed first."""
    task_id = site.enqueue("leaves_behind", out=site.out("left"))
    task = _ended(site, task_id, lifecycle.VERIFIED)
    assert task.verdict is not None
    assert len(task.verdict["proofs"][1]["evidence"]["pids"]) == 3
