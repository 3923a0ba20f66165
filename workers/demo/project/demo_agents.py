"""The function agents of `proofq demo`: honest ones, one that asks a model, two that lie, one that crashes, one that
hangs.

`source` is a folder of Python files, `path` one of them, `out` the file to write, `url` where the model is.
"""

# ruff: noqa: ARG001 - an agent is given ctx and its inputs, whether it looks at them or not

from __future__ import annotations

import ast
import hashlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import scribe  # type: ignore[import-not-found]

import proofq

COUNTS = {
    "type": "object",
    "required": ["files", "functions", "classes"],
    "properties": {name: {"type": "integer", "minimum": 1} for name in ("files", "functions", "classes")},
}
INDEX = {"type": "object", "minProperties": 10, "additionalProperties": {"type": "string", "minLength": 1}}
SURVEY = {"type": "object", "minProperties": 10, "additionalProperties": {"type": "integer", "minimum": 0}}
REPORT = {"type": "object", "required": ["path", "lines"], "properties": {"lines": {"type": "integer"}}}


def files(source: str) -> list[Path]:
    """Every Python file below the folder, in order."""
    return sorted(path for path in Path(source).rglob("*.py") if path.is_file())


def definitions(path: Path) -> Iterator[ast.AST]:
    """Every function and class that a file defines."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, kinds))


def write(out: str, document: Any) -> str:
    """Write JSON; the claim of an honest agent, like that of a liar, is only a word."""
    Path(out).write_text(json.dumps(document, indent=1), encoding="utf-8")
    return "done"


# --- honest ---


@proofq.agent(timeout_s=30, proofs=[proofq.proofs.json(COUNTS)])
def count_definitions(ctx: Any, source: str) -> dict[str, int]:
    """Count what the files define; the counts are the claim."""
    found = [node for path in files(source) for node in definitions(path)]
    classes = sum(isinstance(node, ast.ClassDef) for node in found)
    return {"files": len(files(source)), "functions": len(found) - classes, "classes": classes}


@proofq.agent(timeout_s=30, proofs=[proofq.proofs.file("{out}", json_schema=INDEX)])
def index_docstrings(ctx: Any, source: str, out: str) -> str:
    """Write the first line of every module's docstring."""
    found = {}
    for path in files(source):
        text = ast.get_docstring(ast.parse(path.read_text("utf-8")))
        if text:
            found[str(path.relative_to(source))] = text.splitlines()[0]
    return write(out, found)


def manifest_is_right(facts: Any) -> dict[str, int]:
    """Prove a manifest: every file is read again, and none is missing."""
    told = json.loads(Path(facts.inputs["out"]).read_text("utf-8"))
    there = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files(facts.inputs["source"])}
    wrong = [name for name in there.keys() | told.keys() if there.get(name) != told.get(name)]
    if wrong:
        raise proofq.NotProven(f"{len(wrong)} digests are wrong or missing, {wrong[0]} for one")
    return {"files_read_again": len(there)}


@proofq.agent(
    timeout_s=30, proofs=[proofq.proofs.file("{out}", min_bytes=100), proofq.proofs.python(manifest_is_right)]
)
def digest_files(ctx: Any, source: str, out: str) -> str:
    """Write the SHA-256 of every file."""
    return write(out, {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files(source)})


def count_is_right(facts: Any) -> dict[str, int]:
    """Prove a number that a command printed."""
    if facts.claim != facts.inputs["bytes"]:
        raise proofq.NotProven(f"it said {facts.claim}, there are {facts.inputs['bytes']}")
    return {"bytes": facts.claim}


@proofq.agent(timeout_s=60, proofs=[proofq.proofs.file("{out}", json_schema=SURVEY)])
def survey(ctx: Any, source: str, out: str, seconds: float) -> str:
    """Count the lines of every file, slowly: long enough for its worker to be killed meanwhile."""
    found: dict[str, int] = {}
    every = files(source)
    for path in every:
        found[str(path.relative_to(source))] = len(path.read_text("utf-8").splitlines())
        ctx.progress({"files": len(found), "of": len(every)})
        time.sleep(seconds / len(every))
    return write(out, found)


@proofq.agent(timeout_s=20, max_attempts=2, proofs=[proofq.proofs.file("{out}", sha256="{sha256}")])
def draft(ctx: Any, url: str, text: str, out: str, sha256: str) -> str:
    """Have a model write a file: what its provider refuses is raised here, as in any agent that uses a library."""
    return str(scribe.write(url, text, out))


# --- one declaration for two: the honest twin and the liar differ in nothing but what they do ---

REPORT_PROOFS = [proofq.proofs.file("{out}", json_schema=REPORT)]


@proofq.agent(timeout_s=30, max_attempts=2, proofs=REPORT_PROOFS)
def refresh_report(ctx: Any, path: str, out: str) -> str:
    """Replace an old report by a true one."""
    return write(out, {"path": path, "lines": len(Path(path).read_text("utf-8").splitlines())})


@proofq.agent(timeout_s=30, max_attempts=2, proofs=REPORT_PROOFS)
def touch_report(ctx: Any, path: str, out: str) -> str:
    """A liar: makes an old report look new."""
    os.utime(out)
    return "done"


@proofq.agent(timeout_s=30, max_attempts=2, proofs=REPORT_PROOFS)
def write_nothing(ctx: Any, path: str, out: str) -> str:
    """A liar: does nothing and says so with confidence."""
    return "done"


# --- broken ---


@proofq.agent(timeout_s=30, proofs=REPORT_PROOFS)
def crash(ctx: Any, path: str, out: str) -> str:
    """Fails in the same way each time: the file has no such line."""
    return write(out, {"path": path, "lines": Path(path).read_text("utf-8").splitlines()[1_000_000]})


@proofq.agent(timeout_s=3, proofs=REPORT_PROOFS)
def hang(ctx: Any, path: str, out: str) -> str:
    """Never ends by itself, and does not listen when it is asked to."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)
