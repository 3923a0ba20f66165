"""What stock RQ runs in the part `brownout`: the same work as `asking_agents.py`."""

from __future__ import annotations

import urllib.request
from pathlib import Path


def ask(out: str, url: str) -> str:
    """Ask the provider once, and write down that it answered; what it refuses with is raised."""
    urllib.request.urlopen(url, timeout=20).read()
    Path(out).write_text("answered\n")
    return "done"
