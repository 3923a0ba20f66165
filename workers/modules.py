"""Importing the user's modules: by import path or as a file, both relative to the project, shadowing nothing of ours.

An import path is looked up in the project first. The project's root goes to the end of sys.path, so that a file of
the project called like a module of Python or of ours never replaces it. A file gets a name of its own made from its
path, so two files of one name do not clash.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from proofq.policies.proof_options import FUNCTION
from proofq.workers.errors import DeclarationError

_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
#: Attribute of a module loaded as a file: how the project names it ("agents/a.py").
_ENTRY = "__proofq_entry__"

#: Top-level modules that were imported from a project, by name. Only these are ever replaced.
_from_projects: set[str] = set()


def load(entry: str, root: Path) -> ModuleType:
    """Import one module of the project, or give it when it is imported. Raises DeclarationError with file and line.

    What the module prints goes to stderr: stdout belongs to the command.
    """
    if str(root) not in sys.path:
        sys.path.append(str(root))
    is_file = entry.endswith(".py") or "/" in entry
    if not is_file and not _IMPORT_PATH.fullmatch(entry):
        raise DeclarationError(f"{entry!r} is no module; write an import path (my_agents) or a file (agents/a.py).")
    with _explained(entry), contextlib.redirect_stdout(sys.stderr):
        return _load_file(entry, root) if is_file else _load_path(entry, root)


def resolve(reference: str, root: Path) -> Callable[..., Any]:
    """Give the function that "module:function" or "file.py:function" names in the project. Raises DeclarationError."""
    match = FUNCTION.fullmatch(reference)
    if match is None:
        raise DeclarationError(f'{reference!r} is no function; write "module:function".')
    found: Any = load(match["module"], root)
    for name in match["function"].split("."):
        found = getattr(found, name, None)
    if not callable(found):
        raise DeclarationError(f"{match['module']} has no function {match['function']}; it is named in {reference!r}.")
    return found  # type: ignore[no-any-return]


def reference(function: Callable[..., Any]) -> str:
    """Give "module:qualname", which `resolve` finds in another process if the function is at its module's top level."""
    module = getattr(function, "__module__", None) or "__main__"
    entry = getattr(sys.modules.get(module), _ENTRY, module)
    return f"{entry}:{getattr(function, '__qualname__', function)}"


def is_live(function: Callable[..., Any]) -> bool:
    """Tell whether the function still belongs to the module of its name, which may have been imported anew."""
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    return getattr(function, "__globals__", None) is getattr(module, "__dict__", ())


def _load_file(entry: str, root: Path) -> ModuleType:
    path = (root / entry).resolve()
    if not path.is_file():
        raise DeclarationError(f"{entry} is no file in {root}; modules are named relative to proofq.toml.")
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    name = f"_proofq_{re.sub(r'[^A-Za-z0-9_]', '_', path.stem)}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise DeclarationError(f"{entry} is no Python file; name one that ends in .py.")
    return _execute(spec, os.path.normpath(entry))


def _load_path(entry: str, root: Path) -> ModuleType:
    top = entry.partition(".")[0]
    spec = PathFinder.find_spec(top, [str(root)])
    if spec is None:
        if importlib.util.find_spec(top) is None:
            raise DeclarationError(
                f"module {entry} is not found in {root} nor installed; modules are import paths or files relative to "
                "proofq.toml."
            )
        return importlib.import_module(entry)
    _make_room(top, spec)
    if top not in sys.modules:
        _from_projects.add(top)
        _execute(spec, None)
    return importlib.import_module(entry)


def _make_room(top: str, spec: ModuleSpec) -> None:
    """Forget a module of this name that came from another project; refuse to replace anything else."""
    present = sys.modules.get(top)
    if present is None or _place(getattr(present, "__spec__", None)) == _place(spec):
        return
    if top not in _from_projects:
        taken = getattr(present, "__file__", None) or "Python itself"
        raise DeclarationError(
            f"the module name {top} is taken by {taken}; rename {spec.origin or top}, or list it as a file "
            f"(./{top}.py)."
        )
    for name in [each for each in sys.modules if each == top or each.startswith(f"{top}.")]:
        del sys.modules[name]


def _place(spec: ModuleSpec | None) -> tuple[str, ...]:
    if spec is None:
        return ()
    if spec.origin:
        return (str(Path(spec.origin).resolve()),)
    return tuple(str(Path(each).resolve()) for each in spec.submodule_search_locations or ())


def _execute(spec: ModuleSpec, entry: str | None) -> ModuleType:
    module = importlib.util.module_from_spec(spec)
    if entry is not None:
        setattr(module, _ENTRY, entry)
    sys.modules[spec.name] = module
    try:
        if spec.loader is not None:
            spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(spec.name, None)
        raise
    return module


@contextlib.contextmanager
def _explained(entry: str) -> Iterator[None]:
    """Turn whatever importing raises into a DeclarationError with the user's file and line."""
    try:
        yield
    except DeclarationError:
        raise
    except (Exception, SystemExit) as error:
        where = _where(error)
        cause = f"{type(error).__name__}: {error}".rstrip(": ")
        raise DeclarationError(f"{where}importing {entry} failed: {cause}. Mend it, or take it out.") from error


def _where(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: "
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and "importlib" not in frame.filename
    ]
    return f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
