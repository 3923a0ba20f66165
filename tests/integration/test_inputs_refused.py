"""Inputs nobody could work on: refused at the command and in Python alike, by name, and nothing is enqueued."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import proofq
from proofq.workers import keys, session
from proofq.workers.cli import exit_codes
from proofq.workers.session import Session
from tests.commands import Inside, Project
from tests.servers import PrivateServer

TOML = """
[agents.takes]
command = ["cat"]
stdin = "{text}"
inputs = { text = "str", n = "int", ratio = "float?", yes = "bool?", some = "list", more = "dict" }
unproven = true

[agents.bare]
command = ["cat", "{doc}", "x{late}", "--n={n}"]
inputs = { doc = "str", late = "str?", n = "int?" }
unproven = true

[agents.after]
command = ["cat", "--", "{doc}"]
inputs = { doc = "str" }
unproven = true

[agents.number]
command = ["sleep", "{n}"]
inputs = { n = "float" }
unproven = true

[agents.variable]
command = ["env"]
env = { DOC = "{doc}" }
inputs = { doc = "str" }
unproven = true

[agents.proven]
command = ["true"]
inputs = { doc = "str", late = "str?" }
proofs = [{ kind = "command", argv = ["cat", "{doc}", "--", "{late}"] }]

[agents.stdin]
command = ["cat"]
stdin = "{doc}"
inputs = { doc = "str" }
unproven = true
"""
FIT: dict[str, Any] = {"text": "a", "n": 1, "some": [0], "more": {}}


@pytest.fixture
def opened(
    tmp_path: Path, redis_server: PrivateServer, redis_client: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Session]:
    """The session of this process, whose working directory is the project."""
    project = Project(tmp_path / "p", redis_server.url, TOML)
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("PROOFQ_REDIS_URL", redis_server.url)
    yield session.shared()
    session.forget()


def _without(name: str) -> dict[str, Any]:
    return {key: value for key, value in FIT.items() if key != name}


LONG = "x" * 300_000
#: Agent, inputs, the input that the message names, and what it says of it.
REFUSED: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "missing": ("takes", _without("text"), "text", "is missing; give it with -i text=VALUE"),
    "empty text": ("takes", {**FIT, "text": ""}, "text", "it is required, give it a value"),
    "empty list": ("takes", {**FIT, "some": []}, "some", "it is required, give it a value"),
    "null text": ("takes", {**FIT, "text": None}, "text", "it is required, give it a value"),
    "null list": ("takes", {**FIT, "some": None}, "some", "it is required, give it a value"),
    "null number": ("takes", {**FIT, "n": None}, "n", "it is required, give it a value"),
    "null dict": ("takes", {**FIT, "more": None}, "more", "it is required, give it a value"),
    "bool for int": ("takes", {**FIT, "n": True}, "n", "'integer'"),
    "float for int": ("takes", {**FIT, "n": 1.0}, "n", "'integer'"),
    "text for int": ("takes", {**FIT, "n": "1"}, "n", "'integer'"),
    "int for text": ("takes", {**FIT, "text": 1}, "text", "'string'"),
    "bool for float": ("takes", {**FIT, "ratio": True}, "ratio", "'number'"),
    "int for bool": ("takes", {**FIT, "yes": 1}, "yes", "'boolean'"),
    "dict for list": ("takes", {**FIT, "some": {}}, "some", "'array'"),
    "list for dict": ("takes", {**FIT, "more": []}, "more", "empty"),
    "extra": ("takes", {**FIT, "txet": "a"}, "txet", "is not declared; did you mean text?"),
    "NUL": ("takes", {**FIT, "text": "a\0b"}, "text", "NUL character"),
    "NUL inside": ("takes", {**FIT, "some": ["\0"]}, "some/0", "NUL character"),
    "NUL in a name": ("takes", {**FIT, "more": {"\0": 1}}, "more/'\\x00'", "NUL character"),
    "lone surrogate": ("takes", {**FIT, "text": "\ud83d"}, "text", "half a surrogate pair"),
    "surrogate in a name": ("takes", {**FIT, "more": {"\udc00": 1}}, "more", "half a surrogate pair"),
    "too large": ("takes", {**FIT, "text": "x" * 2**20}, "inputs", "put the data into a file and give its path"),
    "option": ("bare", {"doc": "-rf"}, "doc", 'put "--" before {doc}'),
    "option of a proof": ("proven", {"doc": "--help"}, "doc", 'put "--" before {doc}'),
    "long argument of a proof": ("proven", {"doc": "a", "late": LONG}, "late", "put the data into a file"),
    "dash alone": ("bare", {"doc": "-"}, "doc", "would read it as an option"),
    "negative number": ("number", {"n": -1.5}, "n", "would read it as an option"),
    "long argument": ("bare", {"doc": LONG}, "doc", "more than the 131071 that Linux passes"),
    "long argument in part": ("bare", {"doc": "a", "late": LONG}, "late", "put the data into a file"),
    "long in bytes": ("after", {"doc": "ü" * 65_536}, "doc", "takes 131072 bytes"),
    "long variable": ("variable", {"doc": LONG}, "doc", "or declare stdin = {doc}"),
}
#: What JSON has no word for cannot be typed, only given.
ONLY_GIVEN: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "NaN": ("takes", {**FIT, "ratio": float("nan")}, "ratio", "give a finite number"),
    "infinity": ("takes", {**FIT, "some": [float("-inf")]}, "some/0", "give a finite number"),
    "bytes": ("takes", {**FIT, "text": b"a"}, "text", "bytes is no JSON; give text"),
    "tuple": ("takes", {**FIT, "some": (1,)}, "some", "tuple is no JSON"),
    "name that is no text": ("takes", {**FIT, 5: 1}, "5", "is no text"),  # type: ignore[dict-item]
}


def _says(message: str, name: str, sentence: str) -> bool:
    return name in message and sentence in message


@pytest.mark.parametrize("case", [*REFUSED, *ONLY_GIVEN])
def test_python(opened: Session, case: str) -> None:
    """proofq.enqueue raises BadInput with a sentence about that input; Redis holds what it held."""
    agent, given, name, sentence = {**REFUSED, **ONLY_GIVEN}[case]
    before = opened.store.client.dbsize()
    with pytest.raises(proofq.BadInput) as caught:
        proofq.enqueue(agent, given)
    assert _says(str(caught.value), name, sentence), caught.value
    assert opened.store.client.dbsize() == before


@pytest.mark.parametrize("verb", ["enqueue", "run"])
@pytest.mark.parametrize("case", REFUSED)
def test_command(opened: Session, case: str, verb: str) -> None:
    """`enqueue` and `run` exit 2 with kind bad_input and the same sentence; Redis holds what it held."""
    agent, given, name, sentence = REFUSED[case]
    before = opened.store.client.dbsize()
    done = Inside()(verb, agent, "--inputs", json.dumps(given), "--json")
    assert (done.code, done.error) == (exit_codes.USAGE, "bad_input")
    assert _says(done.document["error"]["message"], name, sentence), done.stdout
    assert opened.store.client.dbsize() == before


def test_nan_as_typed(opened: Session) -> None:
    """No spelling of it gets through the command either."""
    for words in (["-i", "n=nan"], ["-i", "n=inf"], ["--inputs", '{"n": NaN}'], ["--inputs", '{"n": 1e999}']):
        done = Inside()("enqueue", "number", *words, "--json")
        assert (done.code, done.error) == (exit_codes.USAGE, "bad_input"), words
    assert opened.store.client.dbsize() == 0


TAKEN: dict[str, tuple[str, dict[str, Any]]] = {
    "empty dict": ("takes", FIT),
    "empty optional": ("bare", {"doc": "a", "late": ""}),
    "null optional": ("bare", {"doc": "a", "late": None, "n": None}),
    "dash after --": ("after", {"doc": "-rf"}),
    "dash after -- in a proof": ("proven", {"doc": "a", "late": "-rf"}),
    "dash inside": ("bare", {"doc": "a-b", "late": "-x", "n": -5}),
    "dash on stdin": ("stdin", {"doc": "-"}),
    "dash in a variable": ("variable", {"doc": "-"}),
    "long on stdin": ("stdin", {"doc": LONG}),
    "as long as may be": ("after", {"doc": "x" * 131_071}),
}


@pytest.mark.parametrize("case", TAKEN)
def test_taken(opened: Session, case: str) -> None:
    """What looks alike and does no harm is enqueued as it was given."""
    agent, given = TAKEN[case]
    assert opened.store.read(proofq.enqueue(agent, given).id).inputs == given


def test_from_the_catalogue(opened: Session) -> None:
    """A producer that knows the agent only from what its workers publish refuses the same."""
    entry = {
        "version": "1", "lane": "work", "inputs_schema": {"type": "object", "properties": {"doc": {"type": "string"}}},
        "timeout_s": 60, "max_attempts": 2, "max_age_s": 600, "passing": {"bare": ["doc"], "argued": ["doc"]},
    }  # fmt: skip
    older = {name: value for name, value in entry.items() if name != "passing"}
    opened.store.publish_catalogue({"far": entry, "far_and_old": older})
    for bad in ("-rf", LONG):
        with pytest.raises(proofq.BadInput, match="input doc "):
            proofq.enqueue("far", {"doc": bad})
        assert not opened.store.client.exists(keys.TASKS)
    assert proofq.enqueue("far_and_old", {"doc": "-rf"}).state == "queued"
