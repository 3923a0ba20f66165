"""`proofq logs`: what real attempts printed, whatever bytes that was."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from proofq.policies import lifecycle
from proofq.workers import keys
from proofq.workers.cli import exit_codes
from proofq.workers.door import Event
from tests.acceptance.harness import Site
from tests.commands import Done, Inside, Project
from tests.workbench import Bench

#: One process has the site and its worker for all of them.
pytestmark = pytest.mark.xdist_group("cli_logs")
TOML = """
[agents.two_streams]
command = ["sh", "-c", "cat \\"$1\\"; cat \\"$2\\" >&2; exit \\"$3\\"", "sh", "{out}", "{err}", "{code}"]
inputs = { out = "str", err = "str", code = "int" }
max_attempts = 1
unproven = true
"""
#: What would move a cursor, colour or rename a terminal, or is no text at all.
HARMFUL = b"plain\x1b[31mred\x1b]0;title\x07\n\x00\xff\xfe\tcolumn\x9b2J\r\n\xe2\x80\xae last"


@pytest.fixture(scope="module")
def prints() -> Iterator[Site]:
    """A site with a worker whose agent prints the files it is given."""
    with Site() as site:
        toml = site.project / "proofq.toml"
        toml.write_text(toml.read_text() + TOML)
        site.start().wait_ready()
        yield site


def _printed(site: Site, out: bytes, err: bytes, code: int = 0) -> str:
    """The id of a task whose first attempt has printed this, and ended."""
    _write(site, out, err)
    task_id = site.enqueue("two_streams", out=site.out("out"), err=site.out("err"), code=code)
    site.wait_for(task_id, lifecycle.QUARANTINED if code else lifecycle.FINISHED_UNPROVEN)
    return task_id


def _write(site: Site, out: bytes, err: bytes) -> None:
    """What attempts print from now on."""
    (site.files / "out").write_bytes(out)
    (site.files / "err").write_bytes(err)


def _is_harmless(done: Done) -> bool:
    text = done.stdout + done.stderr
    return all(each.isprintable() or each in "\n\t" for each in text)


def test_logs_shows_stdout_then_stderr(prints: Site) -> None:
    """The document has the newest attempt, the absolute path of its stdout, and both ends one after the other."""
    task_id = _printed(prints, b"to stdout", b"to stderr\n")
    done = prints.inside("logs", task_id, "--json")
    assert done.code == 0
    assert done.document.keys() == {"schema_version", "attempt", "path", "tail"}
    assert done.document["attempt"] == 1
    assert Path(done.document["path"]).read_bytes() == b"to stdout"
    assert done.document["tail"] == "to stdout\nto stderr\n"
    shown = prints.inside("logs", task_id)
    assert shown.stdout == "to stdout\nto stderr\n"
    assert done.document["path"] in shown.stderr


def test_nothing_printed_can_harm_a_terminal(prints: Site) -> None:
    """Escapes, controls, broken UTF-8 and direction marks are shown escaped; the document has them as JSON escapes."""
    task_id = _printed(prints, HARMFUL, HARMFUL)
    shown = prints.inside("logs", task_id)
    assert shown.code == 0
    assert _is_harmless(shown)
    assert "\\x1b[31mred" in shown.stdout
    assert "\tcolumn" in shown.stdout
    done = prints.inside("logs", task_id, "--json")
    assert done.stdout.isascii()
    assert _is_harmless(done)
    assert done.document["tail"].startswith("plain\x1b[31mred")


def test_only_the_newest_of_a_flood_is_shown(prints: Site) -> None:
    """Of each stream the last 64 KiB, also when that cuts a character in two."""
    flood = "ä".encode() * 50_000 + b"!"
    task_id = _printed(prints, flood, b"e" * 70_000)
    tail = prints.inside("logs", task_id, "--json").document["tail"]
    out, _, err = tail.partition("\n")
    assert out.endswith("ä!")
    assert len(out.encode()) <= 64 * 1024 + 2
    assert err == "e" * 64 * 1024


def test_each_attempt_has_its_own(prints: Site) -> None:
    """--attempt chooses; the default is the newest."""
    task_id = _printed(prints, b"first", b"", code=3)
    _write(prints, b"second", b"")
    assert prints.session.door.apply(task_id, Event("replay", "test", "for the test")).ok
    prints.wait_for(task_id, lifecycle.QUARANTINED)
    assert prints.inside("logs", task_id, "--json").document["tail"] == "second"
    assert prints.inside("logs", task_id, "--attempt", "1", "--json").document["tail"] == "first"
    none = prints.inside("logs", task_id, "--attempt", "9", "--json")
    assert (none.code, none.error) == (exit_codes.ERROR, "error")
    assert "has no attempt 9; it has begun 2: --attempt 1 to 2." in none.document["error"]["message"]


def test_a_task_that_never_began_has_nothing(inside: Inside, project: Project) -> None:
    """Before the first attempt that is said, with the state."""
    done = inside("logs", project.enqueue())
    assert done.code == exit_codes.ERROR
    assert "is queued and has not begun any attempt, so it has printed nothing" in done.stderr


def test_an_attempt_that_has_not_started_is_told_apart(inside: Inside, project: Project, bench: Bench) -> None:
    """A lease alone prints nothing yet; a removed folder is said to be one."""
    task_id = project.enqueue()
    lease = bench.lease(task_id)
    bench.store.client.hset(
        keys.attempts(task_id), "1", f'{{"n":1,"fence":"{lease.fence}","host":"{os.uname().nodename}"}}'
    )
    assert "has not started yet" in inside("logs", task_id).stderr
    ended = f'{{"n":1,"fence":"{lease.fence}","host":"{os.uname().nodename}","started_at":1,"ended_at":2}}'
    bench.store.client.hset(keys.attempts(task_id), "1", ended)
    assert "its folder was removed" in inside("logs", task_id).stderr


def test_files_elsewhere_name_their_host(inside: Inside, project: Project, bench: Bench) -> None:
    """Output is kept where the attempt ran; the error says where, and what to run there."""
    task_id = project.enqueue()
    bench.verify(task_id)
    done = inside("logs", task_id, "--json")
    assert (done.code, done.error) == (exit_codes.ERROR, "error")
    assert f"on host bench-host, and its output is kept there: run `proofq logs {task_id} --attempt 1`" in str(
        done.document["error"]["message"]
    )


def test_what_an_agent_put_in_the_place_of_its_file_is_not_read(prints: Site) -> None:
    """A pipe or a link in the place of stdout is refused rather than waited for or followed."""
    task_id = _printed(prints, b"x", b"")
    path = Path(prints.inside("logs", task_id, "--json").document["path"])
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    assert "is not a regular file" in prints.inside("logs", task_id).stderr
    path.unlink()
    path.symlink_to("/etc/passwd")
    done = prints.inside("logs", task_id)
    assert (done.code, done.stdout) == (exit_codes.ERROR, "")
