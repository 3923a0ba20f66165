"""One expansion for who performs an attempt and who proves it, for as long as one of them holds it and no longer."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from weakref import ref

from proofq.policies.agent import AgentSpec
from proofq.workers.expand import Expander
from proofq.workers.record import Task

SPEC = AgentSpec("note", "command", command=("echo", "{task_id}", "{attempt}"))
TASK = Task("t1", "note", "work", "work.note", "leased", {}, 0, 10**15, 86400.0, attempt=2)


def test_who_asks_while_it_is_held_gets_the_same(tmp_path: Path) -> None:
    """Nothing is expanded twice; another attempt, and another task, have their own."""
    expander = Expander(tmp_path, tmp_path, {}, {})
    held = expander.expand(TASK, SPEC)
    assert held.argv == ("echo", "t1", "2")
    assert expander.expand(TASK, SPEC) is held
    assert expander.expand(replace(TASK, attempt=3), SPEC).argv == ("echo", "t1", "3")
    assert expander.expand(replace(TASK, id="t2"), SPEC).argv == ("echo", "t2", "2")


def test_what_nobody_holds_is_kept_by_nobody(tmp_path: Path) -> None:
    """A supervisor that has run a million tasks remembers none of them."""
    expander = Expander(tmp_path, tmp_path, {}, {})
    kept = [ref(expander.expand(replace(TASK, id=f"t{number}"), SPEC)) for number in range(100)]
    gc.collect()
    assert [one for one in kept if one() is not None] == []
    assert len(expander._held) == 0
