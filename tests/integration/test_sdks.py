"""What real client libraries raise, raised by them in an environment of their own (`make sdks`): class, source, wait.

Each library fails in one process, which imports it and classifies on the spot; what it found comes back as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from typing import Any

import pytest

from proofq.policies.classes import CLASSES
from tests.architecture.sources import ROOT
from tests.sdks import expected

PYTHON = ROOT / ".venv-sdks" / "bin" / "python"
#: Importing litellm alone takes four seconds of CPU, and machines are busy.
TIMEOUT_S = 240

pytestmark = pytest.mark.timeout(TIMEOUT_S + 30)


@pytest.fixture
def sdks() -> None:
    """Their environment; without it these tests are skipped, and fail where CI=true."""
    if PYTHON.exists():
        return
    missing = "the client libraries are not there; `make sdks` installs them in .venv-sdks"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


def _processes() -> list[tuple[str, ...]]:
    """What fails in one process each: clients of one library together, and the groups."""
    by_library: dict[str, list[str]] = {}
    for name in expected.DIFFERS:
        by_library.setdefault(name.partition(" ")[0], []).append(name)
    return [tuple(names) for names in [*by_library.values(), *([name] for name in expected.GROUPS)]]


def _raised(names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Everything that these clients, or a group of them, were made to raise."""
    # Nobody's keys: that there are none is one of the situations.
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": "/nonexistent", "LANG": "C.UTF-8"}
    done = subprocess.run(
        [PYTHON, "-m", "tests.sdks.runner", *names],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def _found(met: dict[str, Any]) -> expected.Found:
    if met["raised"] is None:
        return None
    found = met["kind"], met["source"]
    return found if met["retry_after"] is None else (*found, round(met["retry_after"], 3))


def _judged(
    names: tuple[str, ...],
) -> tuple[list[dict[str, Any]], dict[tuple[str, str], expected.Found], dict[tuple[str, str], expected.Found]]:
    """What was raised, what was found in it, and what of that is not as expected."""
    met = _raised(names)
    found = {(one["library"], one["situation"]): _found(one) for one in met}
    return met, found, {key: value for key, value in found.items() if value != expected.of(*key)}


@pytest.mark.parametrize("names", _processes(), ids=lambda names: names[0])
def test_everything_that_a_library_raises(sdks: None, names: tuple[str, ...]) -> None:
    """Class, source and wait of each situation; looking at it imported nothing, read nothing, and was soon over."""
    met, found, wrong = _judged(names)
    if any(value is not None and value[0] == "timeout" for value in wrong.values()):
        # A machine that stands still for as long as a client waits makes a timeout of any answer that takes time.
        met, found, wrong = _judged(names)
    assert wrong == {}, {key: next(one for one in met if (one["library"], one["situation"]) == key) for key in wrong}
    libraries = [library for name in names for library in expected.GROUPS.get(name, (name,))]
    assert {one["library"] for one in met} >= set(libraries)
    known = {(library, each) for library in libraries for each in expected.OTHERS.get(library, ())}
    assert known <= found.keys()
    for one in met:
        if one["raised"] is not None:
            assert (one["imported"], one["read"]) == ([], 0), one
            assert one["took_s"] < 2.0, one
            assert one["fingerprint"], one


def test_a_class_is_met_in_several_libraries() -> None:
    """Every class that a library can raise, each in at least two of them (a budget and a cancel are rarer)."""
    met = Counter(
        found[0]
        for library in (*expected.DIFFERS, *expected.OTHERS)
        for found in {one and one[:2] for one in expected.OTHERS.get(library, expected.HTTP).values()}
        if found is not None
    )
    heart = {
        "stalled",
        "no_progress",
        "start_unconfirmed",
        "lost_worker",
        "unverified",
        "handoff_broken",
        "effect_unknown",
    }
    assert met.keys() == CLASSES.keys() - heart - {"policy_error"}
    assert {kind for kind, count in met.items() if count < 2} <= {"budget", "cancelled"}
