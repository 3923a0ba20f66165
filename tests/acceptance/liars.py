"""Liars and their honest twins as agents of a real worker: one declaration for a pair, then what each of them does.

What an agent does is an input, so that nothing but behaviour tells a liar from its twin. Every pair stands for one
mechanism; `tests/surface` has a patch for each that switches it off, and then the pair's test must be red.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.test_liars import PAIRS as FILE_PAIRS
from tests.acceptance.test_liars import PAST

#: A script for /bin/sh, and the inputs that it comes with.
Act = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Pair:
    """`proofs` and `declared` are lines of proofq.toml, the same for all; `before` is the past of all.

    `kinds`: the classes with which its liars may end.
    """

    proofs: str
    liars: Mapping[str, str]
    twins: Mapping[str, str]
    before: str = ":"
    declared: str = "timeout_s = 60"
    kinds: frozenset[str] = frozenset({"unverified"})
    #: Inputs beside the script, and what single agents get instead.
    inputs: Mapping[str, Any] = field(default_factory=dict)
    other_inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def acts(self, named: Mapping[str, str]) -> Iterator[tuple[str, Act]]:
        """Each agent's name, script and inputs."""
        for name, script in named.items():
            yield name, (script, {**self.inputs, **self.other_inputs.get(name, {})})


def _file_pairs() -> Iterator[tuple[str, Pair]]:
    """The pairs of the heart: what a file proof asks beside the content."""
    for name, pair in FILE_PAIRS.items():
        options = "".join(f", {option} = {json.dumps(value)}" for option, value in pair.declared.items())
        crashed = name.startswith("half-written")
        kinds = frozenset({"crash", "resource"}) if crashed else frozenset({"unverified"})
        proofs = f'{{ kind = "file", path = "out.md"{options} }}'
        yield name.replace(" ", "-"), Pair(proofs, pair.liars, pair.twins, f"{PAST}; {pair.before}", kinds=kinds)


def _python(code: str) -> str:
    return f"{sys.executable} -c \"import sqlite3; db = sqlite3.connect('accounts.db'); {code}; db.commit()\""


def _owner(of: int, owner: str) -> str:
    return _python(f"db.execute('update accounts set owner = ? where id = ?', ({owner}, {of}))")


ACCOUNTS = _python(
    "db.execute('create table accounts (id integer primary key, owner)'); "
    "db.executemany('insert into accounts values (?, null)', [(7,), (8,)])"
)


def _result(is_error: bool) -> str:
    """What claude prints last; its subtype says success either way."""
    event = {
        "type": "result",
        "subtype": "success",
        "is_error": is_error,
        "num_turns": 2,
        "result": "Done.",
        "permission_denials": [],
    }
    return f"echo '{json.dumps(event)}'"


TOTAL = '{ type = "object", required = ["total"], properties = { total = { type = "integer" } } }'

PAIRS: dict[str, Pair] = {
    **dict(_file_pairs()),
    "wrong-content": Pair(
        proofs='{ kind = "file", path = "out.md", min_bytes = 1, contains = "total: 42" }',
        liars={
            "another total": "echo 'report, total: 41' > out.md",
            "nearly the text": "echo 'report, total : 42' > out.md",
            "says it instead": "echo 'report' > out.md; echo 'total: 42'",
        },
        twins={
            "the total": "echo 'report, total: 42' > out.md",
            "in two steps": "printf 'report, total' > out.md; echo ': 42' >> out.md",
        },
    ),
    "wrong-content-told-by-a-program": Pair(
        proofs='{ kind = "command", argv = ["cmp", "--", "wanted", "out.md"] }',
        before="echo 'report, total: 42' > wanted",
        liars={
            "nothing": "echo done",
            "another": "echo 'report, total: 41' > out.md",
            "half": "head -c 5 wanted > out.md",
        },
        twins={"the same": "echo 'report, total: 42' > out.md", "a copy": "cp wanted out.md"},
    ),
    "wrong-record-updated": Pair(
        proofs='{ kind = "record", db = "accounts.db", query = "select owner from accounts where id = ?", '
        'params = ["{id}"], equals = "{owner}" }',
        before=ACCOUNTS,
        inputs={"id": 7, "owner": "12"},
        liars={
            "the next one": _owner(8, "'12'"),
            "another value": _owner(7, "'13'"),
            "another type": _owner(7, "12"),
            "not committed": _owner(7, "'12'").replace("db.commit()", "db.rollback()"),
        },
        twins={
            "the one": _owner(7, "'12'"),
            "with a log": _python("db.execute('pragma journal_mode = wal')") + "; " + _owner(7, "'12'"),
            "deleted and made again": _python(
                "db.execute('delete from accounts'); db.execute('insert into accounts values (7, ?)', ('12',))"
            ),
        },
    ),
    "exit-0-after-our-signal": Pair(
        proofs='{ kind = "file", path = "out.md", min_bytes = 1 }',
        declared="timeout_s = 4",
        kinds=frozenset({"timeout"}),
        liars={
            "smiles": "trap 'exit 0' TERM; echo half > out.md; while :; do sleep 0.1; done",
            "finishes in the trap": "trap 'echo rest >> out.md; exit 0' TERM; echo half > out.md; "
            "while :; do sleep 0.1; done",
        },
        twins={"in time, with a trap too": "trap 'exit 0' TERM; echo half > out.md; echo rest >> out.md"},
    ),
    "success-event-beside-is-error": Pair(
        proofs='{ kind = "file", path = "out.md", min_bytes = 1 }',
        declared='adapter = "claude"\ntimeout_s = 60',
        kinds=frozenset({"unknown"}),
        liars={"success, and is_error": f"echo half > out.md; {_result(True)}"},
        twins={"success": f"echo all > out.md; {_result(False)}"},
    ),
    "json-with-a-tail": Pair(
        proofs=f'{{ kind = "json", schema = {TOTAL} }}',
        kinds=frozenset({"malformed_output"}),
        liars={
            "a sentence": """echo '{"total": 42} and that is it'""",
            "another document": """echo '{"total": 42}'; echo '{"total": 43}'""",
            "a half one": """printf '{"total": 42}{"to'""",
        },
        twins={"one": """echo '{"total": 42}'""", "white space around it": """printf '\\n {"total": 42}\\n\\n'"""},
    ),
    "schema-valid-but-unchanged": Pair(
        proofs=f'{{ kind = "file", path = "{{out}}", json_schema = {TOTAL}, same_ok = true, must_change = true }}',
        before="""echo '{"total": 42}' > done.json; echo '{"total": null}' > draft.json""",
        kinds=frozenset({"bad_input"}),
        inputs={"out": "done.json"},
        other_inputs={"fills in the draft": {"out": "draft.json"}, "makes one": {"out": "new.json"}},
        liars={
            "touches what was done": "touch done.json",
            "writes the same": "cat done.json > new; cat new > done.json",
            "does nothing": "echo done",
        },
        twins={
            "fills in the draft": """echo '{"total": 42}' > draft.json""",
            "makes one": "cp done.json new.json",
        },
    ),
}
