"""The lock: complete, exact, hashed, and free of any machine's places; and a reason for every dependency."""

from __future__ import annotations

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.sources import ROOT

LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = re.findall(r"^([^\s#-][^\\]*?) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", LOCK, re.MULTILINE)


def _declared() -> set[str]:
    extras = PROJECT["project"]["optional-dependencies"].values()
    extra = [text for one in extras for text in one]
    texts = [*PROJECT["project"]["dependencies"], *extra, *PROJECT["dependency-groups"]["dev"]]
    return {canonicalize_name(Requirement(text).name) for text in texts}


def _peers() -> set[str]:
    """What `make bench` measures beside us."""
    return {canonicalize_name(Requirement(text).name) for text in PROJECT["dependency-groups"]["peers"]}


def _sdks() -> set[str]:
    """What tests/sdks makes fail."""
    return {canonicalize_name(Requirement(text).name) for text in PROJECT["dependency-groups"]["sdks"]}


def test_every_pin_is_exact_and_hashed() -> None:
    """Each line of the lock is a package at one exact version with its hashes, or belongs to one."""
    requirements = [Requirement(text) for text, _ in PINS]
    assert all(re.fullmatch(r"==[^*]+", str(requirement.specifier)) for requirement in requirements)
    starts = [line for line in LOCK.splitlines() if line and not line[0].isspace() and not line.startswith("#")]
    assert len(starts) == len(PINS)


def test_lock_names_no_place() -> None:
    """No host, URL, index option or path stands in the lock."""
    assert not re.search(r"://|^-|(?<!\w)file:| @ |^\s*--(?!hash=)|\s/\w", LOCK, re.MULTILINE)


def test_lock_covers_what_is_declared() -> None:
    """Every declared dependency and the build backend are locked."""
    locked = {canonicalize_name(Requirement(text).name) for text, _ in PINS}
    assert _declared() - locked == set()
    assert {"hatchling", "editables", "pip"} <= locked


def test_every_dependency_has_its_reason() -> None:
    """docs/dependencies.md has a row for every declared dependency, and for none that is not declared."""
    rows = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE)
    assert {canonicalize_name(name) for name in rows} == _declared() | _peers() | _sdks()


def test_the_peers_are_locked_apart() -> None:
    """What the bench measures beside us has a lock of its own, as exact and with no place in it."""
    lock = (ROOT / "benchmarks" / "peers.lock").read_text()
    assert not re.search(r"://|^-|(?<!\w)file:| @ |^\s*--(?!hash=)|\s/\w", lock, re.MULTILINE)
    pins = re.findall(r"^([^\s#-][^\\]*?) \\\n    --hash=sha256:[0-9a-f]{64}", lock, re.MULTILINE)
    locked = {canonicalize_name(Requirement(text).name) for text in pins}
    assert _peers() - locked == set()
    assert not _peers() & _declared()
