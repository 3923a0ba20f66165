"""`python -m tests.simulation.bugs`: plants each bug of tests/simulation/bugs in a copy, and lets the simulator look.

Each is a small patch against the heart. A patch that does not apply any more is as red as a bug that nobody finds.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATCHES = Path(__file__).with_name("bugs")
#: Folders that the simulator runs from.
_COPIED = ("policies", "workers", "proofq", "tests")


@dataclass(frozen=True)
class Hunt:
    """What became of one planted bug: the seed that found it (None: none of them did), and what it saw."""

    bug: str
    seed: int | None
    seen: str
    seconds: float


def names() -> list[str]:
    return sorted(path.stem for path in PATCHES.glob("*.patch"))


@contextmanager
def planted(bug: str) -> Iterator[Path]:
    """A copy of the tree with the bug in it. CalledProcessError where the patch does not apply."""
    with tempfile.TemporaryDirectory(prefix="proofq-bug-") as folder:
        copy = Path(folder)
        for name in _COPIED:
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        patch = ["git", "apply", "--unidiff-zero", str(PATCHES / f"{bug}.patch")]
        subprocess.run(patch, cwd=copy, check=True, capture_output=True, text=True)
        yield copy


def hunt(bug: str, seeds: int, first: int = 0) -> Hunt:
    """Runs the simulator in a copy with the bug until a seed finds it, for at most `seeds` seeds."""
    begun = time.monotonic()
    with planted(bug) as copy:
        # Without site no .pth is followed, so the copy is what is imported, not the checkout.
        path = os.pathsep.join((str(copy), sysconfig.get_path("purelib")))
        words = ["-S", "-m", "tests.simulation", "--first", str(first), "--seeds", str(seeds), "--processes", "1"]
        ran = subprocess.run(
            [sys.executable, *words],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
    found = re.search(r"^seed (\d+): (.*)$", ran.stderr, re.MULTILINE)
    if found is None and ran.returncode:
        raise RuntimeError(f"the simulator itself failed with {bug} planted: {ran.stderr[-2000:]}")
    seen = found[2] if found else ""
    return Hunt(bug, int(found[1]) if found else None, seen, time.monotonic() - begun)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.bugs", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds each bug gets (default 1000)")
    parser.add_argument("--processes", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("bugs", nargs="*", help="which (default: all)")
    options = parser.parse_args()
    wanted = options.bugs or names()
    with ThreadPoolExecutor(options.processes) as pool:
        hunts = list(pool.map(lambda bug: hunt(bug, options.seeds), wanted))
    for one in hunts:
        place = "NOT FOUND" if one.seed is None else f"seed {one.seed}"
        print(f"{one.bug:<28} {place:<12} {one.seconds:6.1f} s  {one.seen[:110]}")
    found = sum(one.seed is not None for one in hunts)
    print(f"{found} of {len(hunts)} found within {options.seeds} seeds each")
    return 0 if found >= len(hunts) - 1 else 1


if __name__ == "__main__":
    sys.exit(main())
