"""Who leaves a thread behind when agents are loaded, in real interpreters."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.spawning import ROOT

WATCH = """
import sys
from proofq.workers.preload import ThreadWatch
watch = ThreadWatch()
with watch.watching():
    {body}
print(*watch.culprits(), flush=True)
import os
os._exit(0)
"""

# A thread that Python knows nothing of, as numerical libraries start them.
NATIVE = """
import ctypes
libc = ctypes.CDLL(None)
thread = ctypes.c_ulong()
libc.pthread_create(ctypes.byref(thread), None, ctypes.cast(libc.pause, ctypes.c_void_p), None)
"""


@pytest.mark.parametrize(
    ("modules", "body", "culprits"),
    [
        ({}, "import json, decimal", ""),
        ({"a.py": "import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()\n"}, "import a", ""),
        (
            {"a.py": "import tests.leaves_thread\n"},
            "import importlib; importlib.import_module('a')",
            "tests.leaves_thread",
        ),
        ({"a.py": "import native\n", "native.py": NATIVE}, "import a", "native"),
        ({"native.py": NATIVE}, "import importlib; importlib.import_module('native')", "(unknown)"),
    ],
)
def test_the_module_that_left_a_thread_is_named(tmp_path, modules, body, culprits):
    """The innermost one; a thread that has ended is no culprit; one nobody can be blamed for still counts."""
    for name, text in modules.items():
        (tmp_path / name).write_text(text)
    env = {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    program = [sys.executable, "-c", WATCH.format(body=body)]
    done = subprocess.run(program, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines()[-1].strip() == culprits
