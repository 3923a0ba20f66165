"""`@proofq.agent` and `proofq.proofs`: real functions become declared agents, or a sentence with file and line."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import proofq
from proofq.policies.agent import AgentSpec, Proof
from proofq.workers import declare

if TYPE_CHECKING:
    from decimal import Decimal

HERE = Path(__file__).name
FILE = [proofq.proofs.file("{out}", min_bytes=1)]


@proofq.agent(provider="openai", timeout_s=60, proofs=FILE)
def summarise(ctx: Any, doc: str, out: str = "a.md") -> Decimal:
    """Summarise a document."""
    return f"{ctx} {doc} {out}"  # type: ignore[return-value]


def checks(facts: Any) -> dict[str, Any]:
    """A python proof."""
    return {"looked": str(facts)}


def test_the_declared_agent() -> None:
    """The decorator gives an object with name and spec that is still the function."""
    assert summarise.name == "summarise"
    spec = summarise.spec
    assert (spec.kind, spec.provider, spec.timeout_s, spec.lane) == ("function", "openai", 60.0, "work")
    assert spec.function == f"{__name__}:summarise"
    assert spec.inputs_schema["required"] == ["doc"]
    assert spec.inputs_schema["properties"]["out"] == {"type": "string", "default": "a.md"}
    path, _, line = spec.source.rpartition(":")
    assert Path(path).name == HERE
    assert Path(path).read_text().splitlines()[int(line) - 1].startswith("@proofq.agent(provider=")
    assert summarise("c", "d", out="o") == "c d o"
    assert summarise.__doc__ == "Summarise a document."
    assert declare.known("summarise") is spec
    assert AgentSpec.from_dict(spec.to_dict()) == spec


def test_other_ways_to_declare() -> None:
    """name= overrides the function's name; times may be timedeltas; the declared function stays its own."""

    @proofq.agent(name="other-name", unproven=True, timeout_s=timedelta(minutes=1))
    def agent(ctx: Any) -> None: ...

    assert (agent.name, agent.spec.timeout_s, agent.spec.proofs) == ("other-name", 60.0, ())


async def _async(ctx: Any) -> None: ...
async def _async_generator(ctx: Any) -> Any:
    yield


def _generator(ctx: Any) -> Any:
    yield


def _no_ctx(doc: str) -> None: ...
def _nothing() -> None: ...
def _star_ctx(*ctx: Any) -> None: ...
def _named_ctx(*, ctx: Any) -> None: ...
def _stars(ctx: Any, **inputs: str) -> None: ...
def _path(ctx: Any, doc: Path) -> None: ...
def _unreadable(ctx: Any, doc: Decimal) -> None: ...
def _plain(ctx: Any, doc: str) -> None: ...


REFUSED: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (_async, {"cwd": "{project}"}, "agent _async: its attempts share a process and so a working directory"),
    (_async, {"env": {"A": "{project}", "B": "{task_id}"}}, "env.B: {task_id} is a task's own"),
    (_async_generator, {}, "it yields, and calling it would run nothing"),
    (_generator, {}, "agent _generator: it yields, and calling it would run nothing"),
    (_no_ctx, {}, "its first parameter must be ctx: def _no_ctx(ctx, ...)"),
    (_nothing, {}, "its first parameter must be ctx"),
    (_star_ctx, {}, "its first parameter must be ctx"),
    (_named_ctx, {}, "its first parameter must be ctx"),
    (_stars, {}, "parameter inputs: inputs are passed by name"),
    (_path, {}, "parameter doc: Path is no type of an input"),
    (_unreadable, {}, "an annotation cannot be read: NameError: name 'Decimal' is not defined"),
    (_plain, {"unproven": False}, "agent _plain: it has no proofs, "),
    (_plain, {"timeout": 5}, "agent _plain: unknown key 'timeout' of this agent; did you mean timeout_s?"),
    (_plain, {"timeout_s": -5}, "agent _plain: timeout_s is -5; "),
    (_plain, {"name": "a b"}, "agent 'a b': the name of this agent is broken"),
    (_plain, {"proofs": [proofq.proofs.file("{outt}")]}, "proof 1: unknown placeholder {outt}; known are attempt, doc"),
    (_plain, {"proofs": [proofq.proofs.python("checks")]}, "proof 1: function is 'checks'; write \"module:function\""),
    (_async, {"reuse": 2}, "all its attempts share a process already"),
    (_plain, {"reuse": -1}, "reuse is -1; it is a whole number from 1 to"),
    (_plain, {"reuse": True}, "reuse is True; it is a whole number from 1 to"),
    (_plain, {"reuse": 1.5}, "reuse is 1.5; it is a whole number from 1 to"),
    (_plain, {"inputs_schema": {}}, "the inputs of a function agent are its parameters; annotate them"),
    (_plain, {"function": "a:b"}, "the inputs of a function agent are its parameters"),
    (_plain, {"command": ["x"]}, "it has a command and a function"),
]


@pytest.mark.parametrize(("function", "options", "sentence"), REFUSED)
def test_refused(function: Callable[..., Any], options: dict[str, Any], sentence: str) -> None:
    """What may not stand is refused at declaration, with file and line of the function."""
    before = len(declare.declared())
    with pytest.raises(proofq.DeclarationError) as caught:
        proofq.agent(**{"unproven": True, **options})(function)
    where = f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}: agent "
    assert str(caught.value).startswith(where)
    assert sentence in str(caught.value)
    assert len(declare.declared()) == before


@pytest.mark.parametrize("thing", [object(), len, functools.partial(_plain, doc="x"), type("Callable", (), {})])
def test_only_functions_are_declared(thing: Any) -> None:
    """A class, a partial or a builtin has no source to point at, and is refused."""
    with pytest.raises(proofq.DeclarationError, match="declares functions, not"):
        proofq.agent(unproven=True)(thing)


@pytest.mark.parametrize("given", [{}, {"doc": ""}, {"doc": 5}, {"doc": "a", "dok": 1}, {"doc": "\0"}])
def test_bad_inputs_are_refused_before_anything_is_connected(given: dict[str, Any]) -> None:
    """enqueue checks the inputs against the annotations first, and needs no Redis for it."""
    with pytest.raises(proofq.BadInput, match="summarise: input "):
        summarise.enqueue(**given)
    with pytest.raises(proofq.BadInput, match="summarise: input "):
        summarise.options(key="k").enqueue(**given)


def test_an_input_may_be_called_self() -> None:
    """The names of inputs are the user's."""

    @proofq.agent(unproven=True)
    def agent(ctx: Any, self: int, key: int) -> None: ...

    with pytest.raises(proofq.BadInput, match="input key is missing"):
        agent.enqueue(self=1)


BUILT: list[tuple[Proof, Proof]] = [
    (proofq.proofs.file("x"), Proof("file", {"path": "x"})),
    (proofq.proofs.file(Path("x/y")), Proof("file", {"path": "x/y"})),
    (
        proofq.proofs.file("x", min_bytes=0, contains="c", sha256="d", json_schema={}, same_ok=True, must_change=True),
        Proof(
            "file",
            {"path": "x", "min_bytes": 0, "contains": "c", "sha256": "d", "json_schema": {}, "same_ok": True},
            must_change=True,
        ),
    ),
    (proofq.proofs.json(), Proof("json", {})),
    (
        proofq.proofs.json(schema={"type": "object"}, must_change=True),
        Proof("json", {"schema": {"type": "object"}}, True),
    ),
    (proofq.proofs.python("m:f"), Proof("python", {"function": "m:f"})),
    (
        proofq.proofs.record(Path("a.db"), "select x from t where id = ?", ("{id}",), equals=None, must_change=True),
        Proof(
            "record",
            {"db": "a.db", "query": "select x from t where id = ?", "params": ["{id}"], "equals": None},
            True,
        ),
    ),
    (
        proofq.proofs.record("a.db", "select x, y from t where id = :id", {"id": 7}, equals=("{x}", 1)),
        Proof(
            "record",
            {"db": "a.db", "query": "select x, y from t where id = :id", "params": {"id": 7}, "equals": ["{x}", 1]},
        ),
    ),
    (proofq.proofs.command(("cmp", "a", "b")), Proof("command", {"argv": ["cmp", "a", "b"]})),
    (proofq.proofs.python(checks), Proof("python", {"function": f"{__name__}:checks"})),
]


@pytest.mark.parametrize(("built", "expected"), BUILT)
def test_builders(built: Proof, expected: Proof) -> None:
    """A builder gives the proof that the same keys in proofq.toml give; what is left out is left out."""
    assert built == expected


@pytest.mark.parametrize("kind", ["artifact", "http"])
def test_builders_not_built(kind: str) -> None:
    """The other kinds of the contract are refused with a sentence."""
    with pytest.raises(proofq.NotBuilt, match=f"A {kind} proof is not built yet; use proofs.file, "):
        getattr(proofq.proofs, kind)("x", y=1)
