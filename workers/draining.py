"""A drain asked through Redis: a worker is told by name, and does what it does on TERM.

Whoever asks marks the rows of the worker's owners and rings them. A supervisor hears it with its next beat, which the
bell makes at once, and passes it on to its launcher: only that one knows both lanes and what it must not start again.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from proofq.workers import killing
from proofq.workers.fleet import Owner
from proofq.workers.insist import insist, tries
from proofq.workers.launcher import DRAIN_SIGNAL
from proofq.workers.rq_view import compact
from proofq.workers.store import Store

log = logging.getLogger(__name__)


def ask(store: Store, owner: Owner, who: str) -> bool:
    """Tell an owner to drain; False if it was forgotten meanwhile. Raises RedisUnavailable, DamagedKey."""
    fields = compact({"drain": who})
    answer = insist(lambda: store.call("owner", "drain", owner.id, "", 0, fields), store.clock, tries())
    return bool(answer[0] == b"ok")


def pass_on(launcher_pid: int) -> bool:
    """Tell the launcher of this supervisor; False where it would not hear it, or is not the parent (any more)."""
    if os.getppid() != launcher_pid or not _catches(launcher_pid):
        log.error("drain_not_passed_on", extra={"launcher": launcher_pid})
        return False
    log.info("drain_passed_on", extra={"launcher": launcher_pid})
    killing.send(launcher_pid, DRAIN_SIGNAL)
    return True


def _catches(pid: int) -> bool:
    """Whether a process has a handler of the signal, which would kill it otherwise: a launcher that was started before
    this version was installed has none."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    except OSError:
        return False
    caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) >> (DRAIN_SIGNAL - 1) & 1)
