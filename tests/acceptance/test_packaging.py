"""sdist → wheel → import in an empty environment, with a user's own folders workers/ and policies/ beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("policies", "workers")

IMPORT_ALL = """
import importlib, pkgutil, sys
import proofq
for found in pkgutil.walk_packages(proofq.__path__, "proofq."):
    if not found.name.endswith("__main__") and ".demo.project" not in found.name:
        importlib.import_module(found.name)
import workers, policies
print(proofq.__file__)
print(workers.WHOSE, policies.WHOSE)
"""


def _run(*command: str | Path, cwd: Path, **environ: str) -> str:
    """Run a command with no import path of ours in its environment; its output."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=clean | environ, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def _sources() -> set[str]:
    """What of the product must arrive: every file of the package and the two folders that is not a cache."""
    own = {path for path in (ROOT / "proofq").iterdir() if path.is_file()}
    linked = {path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()}
    names = {f"proofq/{path.name}" for path in own} | {f"proofq/{path.relative_to(ROOT)}" for path in linked}
    return {name for name in names if "__pycache__" not in name}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist and not from the checkout."""
    out = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    (built,) = out.glob("*.whl")
    assert len(list(out.glob("*.tar.gz"))) == 1
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment that has the wheel and, by a path, the packages it depends on."""
    home = tmp_path_factory.mktemp("env")
    venv.create(home, with_pip=False, symlinks=True)
    (site,) = home.glob("lib/python*/site-packages")
    # pip of the suite's environment, working on the new one: no network, and no dependency installed anew.
    install: list[str | Path] = ["-m", "pip", "--python", home, "install", "--quiet", "--no-deps", "--no-index", wheel]
    _run(sys.executable, *install, cwd=home, PIP_NO_INDEX="1")
    # Files ending in .pth are not followed further from here, so the suite's editable proofq stays out.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin" / "python"


@pytest.fixture(params=["packages", "namespaces", "modules"])
def users_project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A user's directory with workers and policies of their own, in each way Python knows."""
    for folder in FOLDERS:
        if request.param == "modules":
            (tmp_path / f"{folder}.py").write_text("WHOSE = 'the user'\n")
            continue
        (tmp_path / folder).mkdir()
        if request.param == "packages":
            (tmp_path / folder / "__init__.py").write_text("WHOSE = 'the user'\n")
        else:
            (tmp_path / folder / "errors.py").write_text("WHOSE = 'the user'\n")
    return tmp_path


def test_nothing_is_left_out(wheel: Path) -> None:
    """The wheel has every file of the product under proofq/, and nothing beside it that could shadow a user's."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert _sources() - names == set()
    assert {name.split("/")[0] for name in names} - {"proofq"} == {
        f"{wheel.name.split('-')[0]}-{wheel.name.split('-')[1]}.dist-info"
    }


def test_users_folders_do_not_matter(python: Path, users_project: Path) -> None:
    """From a directory with the user's own workers and policies, both those and all of proofq are imported."""
    code = IMPORT_ALL
    if (users_project / "workers" / "errors.py").exists():
        code = code.replace("import workers, policies", "import workers.errors, policies.errors")
        code = code.replace("workers.WHOSE, policies.WHOSE", "workers.errors.WHOSE, policies.errors.WHOSE")
    file, whose = _run(python, "-c", code, cwd=users_project).splitlines()
    assert Path(file).is_relative_to(python.parent.parent)
    assert whose == "the user the user"


def test_command_runs_there(python: Path, users_project: Path) -> None:
    """The installed command and `python -m proofq` start from such a directory, too."""
    assert "Usage" in _run(python.with_name("proofq"), "--help", cwd=users_project)
    assert "Usage" in _run(python, "-m", "proofq", "--help", cwd=users_project)


@pytest.mark.parametrize("kind", ["packages", "namespaces"])
def test_editable_install_does_not_shadow_either(kind: str, tmp_path: Path) -> None:
    """The development install puts the name proofq on the path, and not the folders beside it."""
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
        if kind == "packages":
            (tmp_path / folder / "__init__.py").write_text("")
    code = "import proofq.workers, workers, policies; print(*workers.__path__, *policies.__path__)"
    assert _run(sys.executable, "-c", code, cwd=tmp_path).split() == [
        str(tmp_path / "workers"),
        str(tmp_path / "policies"),
    ]
