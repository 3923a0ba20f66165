"""CPU by what the processes of a worker are, from /proc."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from proofq.workers import proctree


def cpu_ms(root: int) -> defaultdict[str, float]:
    """Milliseconds of CPU so far of a process and all below it, by role; "ended children" are all they waited for.

    Ours are named by their modules ("serve" is the supervisor), "tasks" are forks of a forkserver; else the program's.
    """
    used: defaultdict[str, float] = defaultdict(float)
    processes = proctree.snapshot()
    for pid in [root, *(one.pid for one in proctree.descendants(root, processes))]:
        own, ended = ticks_ms(pid)
        used[_role(pid, processes[pid].ppid if pid in processes else 0)] += own
        # Whoever runs in the middle of a round is in it already.
        used["ended children"] += ended
    return used


def ticks_ms(pid: int) -> tuple[float, float]:
    """Milliseconds of CPU of a process itself, and of those it has waited for; zeros for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[11:15]
    except OSError:
        return 0.0, 0.0
    own, ended = int(fields[0]) + int(fields[1]), int(fields[2]) + int(fields[3])
    return 1000 * own / os.sysconf("SC_CLK_TCK"), 1000 * ended / os.sysconf("SC_CLK_TCK")


def _role(pid: int, parent: int) -> str:
    words = _arguments(pid)
    module = next((word.rpartition(".")[2] for word in words if word.startswith("proofq.workers.")), "")
    if module and words == _arguments(parent):
        # A fork of the forkserver: it has the very arguments of who forked it.
        return "tasks"
    if module:
        return module
    names = [Path(word).name for word in words[:3]]
    if "proofq" in names:
        return "launcher"
    return next((name for name in names if name and not name.startswith("python")), "other")


def _arguments(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return []
