"""Proofs of the kinds record and command as they are declared: what may not stand, and why."""

from __future__ import annotations

from typing import Any

import pytest

from proofq.policies import declaration
from proofq.policies.agent import DeclarationProblem

RECORD = {"kind": "record", "db": "x", "query": "select 1", "equals": 1}

REFUSED_RECORDS: list[tuple[str, Any, str]] = [
    ("query", "select {doc}", 'holds {doc}, and a query takes no placeholder; write ? and params = ["{doc}"]'),
    ("query", "delete from t", "is 'delete from t'; it is one SELECT, since a proof only reads"),
    ("query", "pragma user_version", "is 'pragma user_version'; it is one SELECT"),
    ("query", "", "is ''; it is text and not empty"),
    ("params", "{doc}", "is '{doc}'; it is a list for each ?, or a table of :names, such as "),
    ("params", [[1]], "holds [1]; a column holds text, a number of at most 64 bits, or null"),
    ("params", {"a b": 1}, "has a name that no :name can have"),
    ("equals", True, "is true; sqlite has no true and false, write 1"),
    ("equals", ["x", False], "is false; sqlite has no true and false, write 0"),
    ("equals", [], "is empty; it has a value for each column of the row"),
    ("equals", 2**63, "holds 9223372036854775808; a column holds text"),
    ("equals", {"a": 1}, "holds {'a': 1}; a column holds text"),
    ("equals", float("nan"), "holds nan; a column holds text"),
    ("db", "", "is ''; it is text and not empty"),
]


def _spec(*proofs: Any) -> Any:
    agent = {"name": "note", "command": ["true"], "inputs": {"doc": "str"}, "proofs": list(proofs)}
    return declaration.check(agent, "proofq.toml:12")


def _refusal(*proofs: Any) -> DeclarationProblem:
    with pytest.raises(DeclarationProblem) as caught:
        _spec(*proofs)
    return caught.value


@pytest.mark.parametrize(("option", "value", "sentence"), REFUSED_RECORDS)
def test_refused_records(option: str, value: Any, sentence: str) -> None:
    """What sqlite could never bind or give back, and what is more than a question, is refused with its place."""
    problem = _refusal({**RECORD, option: value})
    assert str(problem).startswith(f"proofq.toml:12: agent note: proof 1: {option} {sentence}")
    assert problem.key == ("proofs", 0, option)


@pytest.mark.parametrize("gone", ["db", "query", "equals"])
def test_a_record_needs(gone: str) -> None:
    """Without a database, a query and a value it says nothing; params may be left out."""
    proof = {key: value for key, value in RECORD.items() if key != gone}
    assert f"proof 1: a record proof needs {gone}" in str(_refusal(proof))


@pytest.mark.parametrize("equals", [None, "", "{doc}", 0, -(2**63), 1.5, [1, None, "x"]])
def test_records_that_stand(equals: Any) -> None:
    """Text, numbers, null, or a list with one for each column; params by place or by name, flags bound as numbers."""
    for params in ([], ["{doc}", 1, None, True], {"id": "{doc}"}):
        given = {**RECORD, "equals": equals, "params": params, "must_change": True}
        (proof,) = _spec(given).proofs
        assert (proof.options["equals"], proof.options["params"], proof.must_change) == (equals, params, True)


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        ("cmp a b", "'cmp a b'; it is a list of a program and its arguments, such as "),
        ([], "[]; it is a list of a program"),
        ([""], "['']; it is a list of a program"),
        (["cmp", 5], "5; it is text"),
    ],
)
def test_refused_commands(argv: Any, shown: str) -> None:
    """A command is a program and its arguments, each a text."""
    problem = _refusal({"kind": "command", "argv": argv})
    assert str(problem).startswith(f"proofq.toml:12: agent note: proof 1: argv is {shown}")
    assert problem.key == ("proofs", 0, "argv")


def test_placeholders_of_a_command_are_known_ones() -> None:
    """An unknown one is refused, an empty argument and a tuple stand."""
    assert "unknown placeholder {x}" in str(_refusal({"kind": "command", "argv": ["a", "{x}"]}))
    (proof,) = _spec({"kind": "command", "argv": ("cmp", "", "{doc}")}).proofs
    assert proof.options == {"argv": ["cmp", "", "{doc}"]}
