"""Makes .venv from requirements.lock (exact versions, hashes checked) and installs the project, editable.

Standard library only: it runs before anything is installed. Does nothing when .venv already fits; safe when
two run at once; a .venv that is broken, half made, moved here or made from another lock is made anew.
"""

from __future__ import annotations

import compileall
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"


def packages_fingerprint(lock: Path) -> str:
    """What the installed packages depend on: the lock, this place (a venv cannot move), this Python."""
    place = f"{ROOT}\n{sys.version}\n{os.path.realpath(sys.executable)}"
    return hashlib.sha256(lock.read_bytes() + place.encode()).hexdigest()


def project_fingerprint() -> str:
    """What the project's own installation depends on: its metadata, not the settings of its tools."""
    import tomllib  # here, so that an older Python gets as far as being told that it is too old

    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text())
    hatch = metadata["tool"]["hatch"]
    parts = [metadata["project"], metadata["build-system"], hatch]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def fits(stamp: Path, wanted: str) -> bool:
    """Whether the step that leaves this stamp was completed from exactly these inputs."""
    return stamp.is_file() and stamp.read_text() == wanted


def starts(where: Path, imports: str) -> bool:
    """Whether the interpreter of a venv still starts (the Python it links to may have been removed)."""
    try:
        return subprocess.run([where / "bin" / "python", "-c", imports], capture_output=True).returncode == 0
    except OSError:
        return False


def pip(where: Path, *args: str) -> None:
    """Run the pip of a venv; its own message explains a failure."""
    command = [where / "bin" / "python", "-m", "pip", "-qq", "--disable-pip-version-check", *args]
    if subprocess.run(command, cwd=ROOT).returncode != 0:
        sys.exit(f"setup: `pip {' '.join(args)}` failed; its message is above")


def packages(where: Path, pins: Path, imports: str) -> None:
    """Bring a venv up to date with its lock; `imports` is a statement that works in one that is whole."""
    if sys.version_info < (3, 11):  # noqa: UP036 - told plainly
        sys.exit(f"setup: proofq needs Python 3.11 or 3.12; {sys.executable} is older. Name one with PYTHON=...")
    wanted = packages_fingerprint(pins)
    with (ROOT / f"{where.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if fits(where / ".packages", wanted) and starts(where, imports):
            return
        version = ".".join(map(str, sys.version_info[:3]))
        print(f"setup: making {where.name} with Python {version} from {pins.name}", file=sys.stderr)
        if where.exists():
            shutil.rmtree(where)
        venv.create(where, with_pip=True, symlinks=True)
        pip(where, "install", "--no-deps", "--require-hashes", "--requirement", str(pins))
        (where / ".packages").write_text(wanted)


def main() -> None:
    """Bring .venv up to date."""
    packages(VENV, LOCK, "import rq")
    with (ROOT / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        project = project_fingerprint()
        if not fits(VENV / ".project", project):
            pip(VENV, "install", "--no-deps", "--no-build-isolation", "--editable", ".")
            # Where Python is told to write no bytecode, each of a worker's processes would compile all of it anew.
            for folder in ("proofq", "workers", "policies"):
                compileall.compile_dir(ROOT / folder, quiet=1)
            (VENV / ".project").write_text(project)


if __name__ == "__main__":
    main()
