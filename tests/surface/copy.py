"""A copy of the repository with a Python of its own, so that every process of a test runs the copy's code.

An editable install leads to the checkout, and a worker's children get an environment without PYTHONPATH; so the copy
has a virtual environment whose only path is the copy first and the checkout's packages second.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.surface.table import ROOT

#: What tests do not read: the history, environments, caches.
_LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", ".proofq", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info")
#: How the message of a failed test begins that failed because what it looked at was not so.
_ASSERTED = ("AssertionError", "assert ", "Failed: DID NOT RAISE")


class NotApplied(Exception):
    """The patch does not fit the code any more; the message is what patch said."""


@dataclass(frozen=True)
class Ran:
    """One run of pytest: its exit code, how many passed, and what it said of each that did not, setup included."""

    code: int
    passed: int
    failures: tuple[str, ...]
    errors: tuple[str, ...]
    output: str

    @property
    def green(self) -> bool:
        """Everything passed, and something did."""
        return self.code == 0 and self.passed > 0

    @property
    def red(self) -> bool:
        """A test failed by an assertion of its own, and nothing broke on the way to it."""
        asserted = [one for one in self.failures if one.startswith(_ASSERTED)]
        return self.code == 1 and not self.errors and bool(asserted)


class Copy:
    """Use `copied`."""

    def __init__(self, root: Path) -> None:
        self.root = root / "proofq"
        shutil.copytree(ROOT, self.root, symlinks=True, ignore=_LEFT_OUT)
        self._venv = root / "venv"
        self._report = root / "report.xml"
        self._make_venv()
        self._check_it_is_used()

    def run(self, *tests: str) -> Ran:
        """Run these tests of the copy."""
        self._report.unlink(missing_ok=True)
        words = ["-q", "-p", "no:cacheprovider", f"--junitxml={self._report}", *tests]
        done = self._python("-m", "pytest", *words)
        return _read(self._report, done.returncode, done.stdout + done.stderr)

    @contextmanager
    def patched(self, patch: Path) -> Iterator[None]:
        """The copy with the patch in it. NotApplied where it does not fit."""
        self._patch(patch)
        try:
            yield
        finally:
            self._patch(patch, "--reverse")

    def _patch(self, patch: Path, *options: str) -> None:
        words = ["patch", "-p1", "--batch", "--fuzz=0", "--no-backup-if-mismatch", "--dry-run", *options]
        for command in (words, [word for word in words if word != "--dry-run"]):
            done = subprocess.run([*command, "-i", str(patch)], cwd=self.root, capture_output=True, text=True)
            if done.returncode:
                raise NotApplied(done.stdout + done.stderr)
        # Compiled code is told from old code by whole seconds, which is too coarse here.
        for folder in list(self.root.rglob("__pycache__")):
            shutil.rmtree(folder, ignore_errors=True)

    def _make_venv(self) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(self._venv)], check=True)
        packages = next((self._venv / "lib").glob("python3*/site-packages"))
        (packages / "copy.pth").write_text(f"{self.root}\n{sysconfig.get_path('purelib')}\n")
        program = self._venv / "bin" / "proofq"
        program.write_text(f"#!{self._venv / 'bin' / 'python'}\nfrom proofq.workers.cli.main import main\nmain()\n")
        program.chmod(0o755)

    def _check_it_is_used(self) -> None:
        done = self._python("-P", "-c", "import proofq.workers.door as door; print(door.__file__)")
        found = Path(done.stdout.strip() or "/nowhere")
        if not found.resolve().is_relative_to(self.root.resolve()):
            raise RuntimeError(f"the copy in {self.root} would be tested by the code of {found}: {done.stderr}")

    def _python(self, *words: str) -> subprocess.CompletedProcess[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
        environ.pop("VIRTUAL_ENV", None)
        python = str(self._venv / "bin" / "python")
        return subprocess.run([python, *words], cwd=self.root, env=environ, capture_output=True, text=True)


@contextmanager
def copied() -> Iterator[Copy]:
    """A copy, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="proofq-surface-", ignore_cleanup_errors=True) as folder:
        yield Copy(Path(folder))


def _read(report: Path, code: int, output: str) -> Ran:
    """What pytest wrote down; nothing, where it did not come so far."""
    cases: Sequence[ElementTree.Element] = []
    if report.exists():
        cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    failures = [one.get("message", "") for case in cases for one in case.iter("failure")]
    errors = [one.get("message", "") for case in cases for one in case.iter("error")]
    passed = sum(not any(case.find(tag) is not None for tag in ("failure", "error", "skipped")) for case in cases)
    return Ran(code, passed, tuple(failures), tuple(errors), output)
