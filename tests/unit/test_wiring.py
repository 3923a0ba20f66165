"""Which declared steps are missing, what is said of it, and what of a report is taken for a step."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from proofq.policies import declaration, wiring
from proofq.policies.agent import AgentSpec, DeclarationProblem
from proofq.workers import steps
from proofq.workers.errors import DeclarationError
from proofq.workers.report import Reporter, ReportReader


@steps.step
def plan(fails: bool = False) -> str:
    """A step."""
    if fails:
        raise ValueError
    return "planned"


@steps.step(name="write-it")
async def write() -> str:
    """A step that waits."""
    await asyncio.sleep(0)
    return "written"


def _yields() -> Iterator[int]:
    yield 1


def _told(call: Any) -> tuple[str, ...]:
    """What a supervisor hears of the steps while `call` runs as an attempt."""
    reading, writing = os.pipe()
    with steps.telling(Reporter(writing)):
        call()
    os.close(writing)
    reader = ReportReader(silent=False)
    with os.fdopen(reading, "rb") as pipe:
        reader.feed(pipe.read())
    return reader.steps


def test_what_is_missing_is_named_in_order() -> None:
    """Only what was declared counts, in whatever order it was called; the verdict names it and keeps the claim."""
    assert wiring.missing(("a", "b", "c"), ("b", "x")) == ("a", "c")
    assert wiring.missing(("a", "b"), ("b", "a", "a")) == wiring.missing((), ()) == ()
    found = wiring.verdict(("a", "b"), ("b",), "all done")
    assert (found.outcome, found.class_) == ("unverified", "unverified")
    evidence = found.proofs[0].evidence
    assert [evidence[name] for name in ("missing", "called", "claim")] == [["a"], ["b"], "all done"]
    assert "never finished a," in evidence["reason"]


def test_a_step_is_told_once_when_it_came_back() -> None:
    """Twice called is told once; what raised is not told; outside an attempt nothing is, and it works all the same."""
    assert plan() == "planned"
    assert _told(lambda: (plan(), plan())) == ("plan",)

    def fails() -> None:
        with pytest.raises(ValueError, match=r"^$"):
            plan(fails=True)

    assert _told(fails) == ()


def test_a_step_knows_its_attempt() -> None:
    """In a coroutine, in a thread, and with two attempts side by side in one process."""
    assert _told(lambda: asyncio.run(write())) == ("write-it",)

    def in_thread() -> None:
        thread = threading.Thread(target=plan)
        thread.start()
        thread.join()

    assert _told(in_thread) == ("plan",)
    inner: list[tuple[str, ...]] = []

    def both() -> None:
        inner.append(_told(lambda: asyncio.run(write())))
        plan()

    assert _told(both) == ("plan",)
    assert inner == [("write-it",)]


def test_what_is_no_step_is_refused() -> None:
    """A generator runs nothing when it is called; a broken name could never be declared."""
    with pytest.raises(DeclarationError, match="it yields"):
        steps.step(_yields)
    with pytest.raises(DeclarationError, match="is no name of a step"):
        steps.step(name="a b")(lambda: None)
    with pytest.raises(DeclarationError, match="put it on a def"):
        steps.step(3)  # type: ignore[call-overload]


@pytest.mark.parametrize("said", [3, None, "", "a b", "x" * 129, ["plan"]])
def test_a_report_may_hold_anything(said: Any) -> None:
    """An agent may write to the pipe itself: what is no name of a step is none."""
    reader = ReportReader(silent=False)
    reader.feed(json.dumps({"step": said}).encode() + b'\n{"step":"plan"}\n')
    assert reader.steps == ("plan",)


def test_a_flood_of_steps_is_bounded() -> None:
    """So many are kept, however many come."""
    reader = ReportReader(silent=False)
    for number in range(3 * wiring.MAX_STEPS):
        reader.feed(b'{"step":"s%d"}\n' % number)
    assert len(reader.steps) == wiring.MAX_STEPS


def test_declared_with_a_function_alone() -> None:
    """A function keeps its steps through JSON; with look_first they are refused: nobody saw that end."""
    raw: dict[str, Any] = {"name": "a", "function": "m:f", "proofs": [{"kind": "json", "schema": {}}]}
    spec = declaration.check({**raw, "must_call": ["plan", "write-it"]}, "a.py:1")
    assert AgentSpec.from_dict(spec.to_dict()) == spec
    assert spec.must_call == ("plan", "write-it")
    assert spec.version != declaration.check(raw, "a.py:1").version
    with pytest.raises(DeclarationProblem, match="keep one of them"):
        declaration.check({**raw, "must_call": ["plan"], "look_first": True}, "a.py:1")
