"""A module that hangs in every process that is to run its agent; a thread makes that a fresh interpreter."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import proofq

threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
if "PROOFQ_TASK_ID" in os.environ:
    time.sleep(3600)


@proofq.agent(timeout_s=60, unproven=True)
def never_up(ctx: Any) -> None:
    """Never gets as far as this."""
