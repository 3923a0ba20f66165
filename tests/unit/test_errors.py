"""The tree of errors: what scripts rely on, and that its drawing is true."""

from __future__ import annotations

import re

from proofq.workers import errors
from proofq.workers.errors import Error, TaskFailed


def _tree(root: type[Error]) -> dict[str, type[Error]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            found |= _tree(child)
    return found


def test_drawing_is_the_tree() -> None:
    """Names and exit codes drawn at the top of the file are those of the classes."""
    drawn = re.findall(r"^[\s├└─│]*(\w+) +(\d)  ", errors.__doc__ or "", re.MULTILINE)
    assert {name: int(code) for name, code in drawn} == {name: kind.exit_code for name, kind in _tree(Error).items()}


def test_kinds_are_words_of_their_own() -> None:
    """Every error has its own word for `--json`."""
    kinds = [kind.kind for kind in _tree(Error).values()]
    assert len(kinds) == len(set(kinds))
    assert all(re.fullmatch(r"[a-z_]+", kind) for kind in kinds)


def test_contract_codes() -> None:
    """The exit codes the contract fixes: 2 for what the caller did wrong, 7 for Redis, 1 for the rest."""
    codes = {name: kind.exit_code for name, kind in _tree(Error).items()}
    assert {name for name, code in codes.items() if code == 2} == {
        "BadInput",
        "DeclarationError",
        "KeyConflict",
        "NotBuilt",
        "OtherLayout",
        "UnknownAgent",
    }
    assert {name for name, code in codes.items() if code == 7} == {"NoAnswer", "RedisUnavailable"}
    assert set(codes.values()) == {1, 2, 7}


def test_failed_task_is_carried() -> None:
    """TaskFailed has the task it is about."""
    task = object()
    assert TaskFailed("it failed", task).task is task
    assert str(TaskFailed("it failed", task)) == "it failed"
