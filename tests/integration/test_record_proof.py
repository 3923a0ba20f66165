"""The `record` proof on real sqlite files: one row, its types, and what cannot be told; nothing is ever written."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proofq.policies.agent import Proof
from proofq.policies.verdict import ProofResult
from proofq.workers import record_proof
from proofq.workers.verify import Question, Verifier
from tests.verifiers import HOST, verifier

QUERY = "select owner from accounts where id = ?"
#: A year of sqlite's steps.
ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n"


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A database with one table: accounts 7 and 8, whose owner is ann, and one value of each type under 9."""
    path = tmp_path / "accounts.db"
    with closing(sqlite3.connect(path)) as opened, opened:
        opened.execute("create table accounts (id integer, owner, more)")
        opened.executemany("insert into accounts values (?, 'ann', 1)", [(7,), (8,)])
        opened.execute("insert into accounts values (9, null, 2.0)")
    return path


def _check(db: Path | str, query: str = QUERY, params: Any = (7,), equals: Any = "ann", within_s: float = 20.0) -> Any:
    options = {"db": str(db), "query": query, "params": params, "equals": equals}
    return record_proof.check(options, within_s)


def _said(result: ProofResult) -> tuple[str, str]:
    return result.outcome, result.reason


def _write(db: Path, *statements: str) -> None:
    with closing(sqlite3.connect(db, isolation_level=None)) as opened:
        for statement in statements:
            opened.execute(statement)


def _names(db: Path) -> list[str]:
    return sorted(one.name for one in db.parent.iterdir())


def _listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {one.name: (one.stat().st_size, one.stat().st_mtime_ns) for one in folder.iterdir()}


# --- one row, and its types ---


@pytest.mark.parametrize(
    ("query", "params", "equals", "reason"),
    [
        (QUERY, [7], "ann", ""),
        (QUERY, [7], ["ann"], ""),
        ("select owner from accounts where id = :id", {"id": 7}, "ann", ""),
        ("select id, owner from accounts where id = 7", [], [7, "ann"], ""),
        (QUERY, [9], None, ""),
        ("select more from accounts where id = 9", [], 2.0, ""),
        ("with a as (select * from accounts) select count(*) from a", [], 3, ""),
        ("values (1, 'x', null, 1.5, '')", [], [1, "x", None, 1.5, ""], ""),
        (QUERY, ["7"], "ann", ""),  # sqlite's own affinity of an integer column
        (QUERY, [6], "ann", "no row"),
        (QUERY, [7], "eve", "the value is not the declared one"),
        ("select owner from accounts where owner = 'ann'", [], "ann", "more than one row; exactly one is asked for"),
        ("select id, owner from accounts where id = 7", [], "ann", "a row of 2 columns, 1 are declared"),
        (QUERY, [7], ["ann", 1], "a row of 1 columns, 2 are declared"),
        ("select 1", [], "1", "the value is not the declared one: an integer is there, text is declared"),
        ("select '1'", [], 1, "the value is not the declared one: text is there, an integer is declared"),
        ("select 1", [], 1.0, "the value is not the declared one: an integer is there, a float is declared"),
        ("select 1.0", [], 1, "the value is not the declared one: a float is there, an integer is declared"),
        ("select 1", [], True, "the value is not the declared one: an integer is there, true or false, which sqlite"),
        ("select null", [], "", "the value is not the declared one: null is there, text is declared"),
        ("select ''", [], None, "the value is not the declared one: text is there, null is declared"),
        ("select x'616e6e'", [], "ann", "the value is not the declared one"),
        ("select cast(x'ff' as text)", [], "ÿ", "the value is not the declared one"),
        ("select 'a', 2", [], ["a", 3], "column 2 is not the declared one"),
        ("select owner from gone", [], "ann", "no such table: gone"),
        ("select gone from accounts", [], "ann", "no such column: gone"),
    ],
)
def test_one_row_and_it_is_equal(db: Path, query: str, params: Any, equals: Any, reason: str) -> None:
    """Exactly one row, as many columns as declared, the same values of the same types."""
    result = _check(db, query, params, equals)
    assert result.outcome == ("unverified" if reason else "verified")
    assert result.reason.startswith(reason)
    assert bool(result.reason) == bool(reason)


def test_what_was_seen_is_told(db: Path) -> None:
    """The evidence holds the row, cut where it is long, and what was declared."""
    _write(db, "update accounts set owner = printf('%.*c', 5000, 'x') where id = 7")
    data = _check(db).to_dict()
    assert data["class"] == "unverified"
    assert (len(data["evidence"]["row"][0]), data["evidence"]["declared"]) == (500, ["ann"])
    assert _check(db, "select x'616e6e'", []).evidence["row"] == ["3 bytes"]
    rows = _check(db, "select id from accounts order by id", []).evidence["rows"]
    assert rows == [[7], [8]]


# --- what proves nothing ---


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        ("true", "there is no database"),
        ("mkdir a.db", "a directory stands there; only a regular file proves anything"),
        ("mkfifo a.db", "a fifo stands there; only a regular file proves anything"),
        ("ln -s accounts.db a.db", "a symlink stands there; only a regular file proves anything"),
        (": > a.db", "no such table: accounts"),
    ],
)
def test_what_is_no_database_file(db: Path, make: str, reason: str) -> None:
    """Nothing, and what no proof may follow or wait for, is a no; and nothing is made in its place."""
    subprocess.run(["/bin/sh", "-c", make], cwd=db.parent, check=True)
    before = _names(db)
    assert _said(_check(db.parent / "a.db")) == ("unverified", reason)
    assert _names(db) == before


@pytest.mark.parametrize("path", ["", "a.db", "/tmp/a\0b", "/" + "x" * 5000])
def test_paths_that_no_database_can_have(path: str) -> None:
    """They are bad input."""
    result = _check(path)
    assert (result.outcome, result.class_) == ("unverified", "bad_input")


def test_names_that_mean_something_in_a_uri(db: Path) -> None:
    """A path is a path, whatever stands in it."""
    odd = db.parent / "a?mode=rwc&b#c%20d é.db"
    shutil.copy(db, odd)
    assert _check(odd).outcome == "verified"
    assert _names(db) == sorted([db.name, odd.name])


# --- what cannot be told ---


@pytest.mark.parametrize(
    ("query", "params", "told"),
    [
        ("attach ':memory:' as other", [], "more than read tables"),
        ("pragma user_version", [], "more than read tables"),
        ("select * from pragma_user_version", [], "more than read tables"),
        ("select load_extension('x')", [], "more than read tables"),
        ("delete from accounts", [], "more than read tables"),
        ("with a as (select 7) update accounts set owner = 'eve' where id in a returning owner", [], "more than read"),
        ("select 1; delete from accounts", [], "one statement at a time"),
        ("select owner form accounts", [], "syntax error"),
        (QUERY, [], "binding"),
        (QUERY, [2**70], "too large"),
        (QUERY, [[1]], "binding"),
        ("select zeroblob(17000000)", [], "too big"),
    ],
)
def test_queries_that_are_of_no_use(db: Path, query: str, params: Any, told: str) -> None:
    """A query that does more than read, or that sqlite cannot carry out, is no no; and nothing changes."""
    before = db.read_bytes()
    result = _check(db, query, params)
    assert result.outcome == "cannot_tell"
    assert told in result.reason
    assert db.read_bytes() == before


def test_what_is_damaged_or_no_database(db: Path) -> None:
    """Other content, or pages overwritten: nobody can tell."""
    other = db.parent / "other.db"
    other.write_text("a report, and no database at all, of a fair length\n" * 100)
    assert _said(_check(other)) == ("cannot_tell", "SQLITE_NOTADB: file is not a database")
    data = bytearray(db.read_bytes())
    data[4096:8192] = os.urandom(4096)
    db.write_bytes(data)
    assert _check(db).outcome == "cannot_tell"


def test_an_endless_query_gives_up_by_itself(db: Path) -> None:
    """The deadline is looked at while the query runs."""
    begun = time.monotonic()
    assert _said(_check(db, ENDLESS, [], within_s=0.5)) == ("cannot_tell", "it ran as long as a proof may take")
    assert time.monotonic() - begun < 10


# --- beside writers ---


@contextmanager
def _somebody(db: Path, code: str) -> Iterator[subprocess.Popen[str]]:
    """Another process with the database open as `db`, that has run `code` and waits."""
    text = (
        "import os, signal, sqlite3, sys\n"
        f"db = sqlite3.connect({str(db)!r}, isolation_level=None)\n{code}\n"
        "print('ready', flush=True)\nsys.stdin.read()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


LOG = "db.execute('pragma journal_mode = wal')"
UPDATE = "db.execute(\"update accounts set owner = 'bob' where id = 7\")"


def test_a_locked_database_cannot_be_told(db: Path) -> None:
    """A writer that does not let go is waited for, but not for ever."""
    with _somebody(db, "db.execute('begin exclusive')"):
        result = _check(db, within_s=1.0)
    assert result.outcome == "cannot_tell"
    assert "SQLITE_BUSY" in result.reason
    assert _check(db).outcome == "verified"


def test_a_transaction_that_is_open_is_not_seen(db: Path) -> None:
    """What is not committed is not there."""
    with _somebody(db, f"db.execute('begin')\n{UPDATE}"):
        assert _check(db, equals="bob").outcome == "unverified"
        assert _check(db, equals="ann").outcome == "verified"


def test_a_transaction_that_was_killed_cannot_be_told(db: Path) -> None:
    """Half of it may be in the file; who may write rolls it back, a proof does not."""
    fill = "db.executemany('insert into accounts values (1, 2, ?)', [('x' * 3000,)] * 500)"
    with _somebody(db, f"db.execute('pragma cache_size = 1')\ndb.execute('begin')\n{fill}") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = _listing(db.parent)
        assert _said(_check(db))[0] == "cannot_tell"
        assert _listing(db.parent) == before
    _write(db, "pragma quick_check")
    assert _check(db).outcome == "verified"


def test_a_log_is_read_and_never_made(db: Path) -> None:
    """WAL: in use, left by a killed writer, and closed; in each case the newest commit is seen and nothing is made."""
    with _somebody(db, f"{LOG}\n{UPDATE}") as writer:
        before = _names(db)
        assert before == [db.name, f"{db.name}-shm", f"{db.name}-wal"]
        assert _check(db, equals="bob").outcome == "verified"
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert _check(db, equals="bob").outcome == "verified"
        assert _names(db) == before
    _write(db, "update accounts set owner = 'cy' where id = 7")
    assert _names(db) == [db.name]
    before_all = _listing(db.parent)
    assert _check(db, equals="cy").outcome == "verified"
    assert _listing(db.parent) == before_all


def test_a_log_without_its_index_cannot_be_told(db: Path) -> None:
    """A copy of a database in use: to read its log an index would have to be made beside it."""
    copy = db.parent / "copy.db"
    with _somebody(db, f"{LOG}\n{UPDATE}"):
        shutil.copy(db, copy)
        shutil.copy(f"{db}-wal", f"{copy}-wal")
    before = _names(db)
    assert _check(copy, equals="bob").outcome == "cannot_tell"
    assert _names(db) == before


# --- asked through the verifier ---


def _proof(db: Path | str, must_change: bool = False, **options: Any) -> Proof:
    return Proof("record", {"db": str(db), "query": QUERY, "params": [7], "equals": "ann", **options}, must_change)


def _question(folder: Path, *proofs: Proof, host: str = HOST) -> Question:
    return Question(proofs, host, str(folder), str(folder), str(folder), {})


def _verify(one: Verifier, question: Question, timeout_s: float = 20.0) -> tuple[str, str]:
    return _said(one.verify(question, timeout_s).proofs[0])


def test_a_relative_path_means_the_attempts_directory(db: Path) -> None:
    """As it does in the agent."""
    with verifier() as (one, processes):
        assert _verify(one, _question(db.parent, _proof(db.name)))[0] == "verified"
        assert _verify(one, _question(db.parent, _proof("other.db"))) == ("unverified", "there is no database")
        slow = _proof(db, query=ENDLESS, params=[])
        assert _verify(one, _question(db.parent, slow), 1.0) == ("cannot_tell", "it ran as long as a proof may take")
        # It gave up by itself: no process was killed for it.
        assert len(processes.processes) == 1


def test_a_record_of_another_host_cannot_be_told(db: Path) -> None:
    """The same path is another file there."""
    with verifier() as (one, _):
        told = _verify(one, _question(db.parent, _proof(db), host="elsewhere"))
    assert told == ("cannot_tell", f"the attempt ran on elsewhere, what it did there cannot be seen from {HOST}")


def test_must_change_looks_before_the_first_attempt(db: Path) -> None:
    """What holds already starts nothing; without that look nobody can tell; with it the new value proves the work."""
    with verifier() as (one, _):
        question = _question(db.parent, _proof(db, must_change=True))
        baseline = one.baseline(question, 20)
        assert (baseline.outcome, baseline.reason.split(":")[0]) == ("already_true", "already_true")
        assert _verify(one, question) == ("cannot_tell", "must_change: nobody looked before the first attempt")
        _write(db, "update accounts set owner = 'eve' where id = 7")
        baseline = one.baseline(question, 20)
        assert baseline.outcome == "ready"
        question = replace(question, record=baseline.record)
        assert _verify(one, question)[0] == "unverified"
        _write(db, "update accounts set owner = 'ann' where id = 7")
        # A later attempt does not look again: an earlier one may have done the work.
        again = one.baseline(question, 20)
        assert again.outcome == "ready"
        assert _verify(one, replace(question, record=again.record))[0] == "verified"
