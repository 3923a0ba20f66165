"""The agent of the part `brownout`. `asking_jobs.py` is the same for stock RQ."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any

import proofq


@proofq.agent(provider="asked", timeout_s=60, proofs=[proofq.proofs.file("{out}", min_bytes=1)])
def ask(ctx: Any, out: str, url: str) -> str:
    """Ask the provider once, as any agent that uses a library."""
    urllib.request.urlopen(url, timeout=20).read()
    Path(out).write_text("answered\n")
    return "done"
