"""RQ's commands to a worker, as its own people send them: stop-job, kill-horse, shutdown. Like RQ's they are sent over
pub/sub, so one that comes while nobody listens is lost."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

from proofq.workers import keys
from proofq.workers.door import Door, Event
from proofq.workers.errors import Error
from proofq.workers.owner import Held, Owner
from proofq.workers.rq_rows import shown
from proofq.workers.shares import Share

log = logging.getLogger(__name__)

#: Longest message that is read, in bytes.
MAX_BYTES: Final = 4096
#: Who a breadcrumb says it was: RQ keeps no record of the person.
WHO: Final = "rq"


class RqCommands:
    """Of the supervisor of one lane. `shut_down` asks its whole worker to drain, however often it is called."""

    def __init__(
        self, name: str, lane: str, slots: Share, owner: Owner, door: Door, shut_down: Callable[[], None]
    ) -> None:
        self._owner = owner
        self._door = door
        self._shut_down = shut_down
        #: Channel -> slot. A lease that was taken over is held by the slot "reaper", which has no row.
        of_slots = [*shown(slots), keys.REAPER_SLOT]
        self._slots = {keys.RQ_COMMANDS + keys.rq_worker_name(name, lane, slot): slot for slot in of_slots}

    @property
    def channels(self) -> list[str]:
        """Where its commands are published, one channel for each slot as for each worker of RQ's."""
        return list(self._slots)

    def hear(self, channel: str, data: bytes) -> None:
        """Carry one message out; anybody may publish anything, so it never raises."""
        try:
            said = json.loads(data) if len(data) <= MAX_BYTES else None
            if isinstance(said, dict):
                self._heed(self._slots[channel], said)
        except (ValueError, RecursionError):
            log.warning("command_unreadable", extra={"channel": channel})
        except Error as problem:
            log.warning("command_lost", extra={"channel": channel, "problem": str(problem)})
        except Exception:
            log.exception("command_error", extra={"channel": channel})

    def _heed(self, slot: str, said: dict[str, Any]) -> None:
        command = said.get("command")
        log.info("command_heard", extra={"command": str(command)[:50], "slot": slot})
        if command == "stop-job":
            for held in self._holding(lambda one: one.task_id == said.get("job_id")):
                self._door.apply(held.task_id, Event("cancel", WHO, "RQ's stop-job command"))
        elif command == "kill-horse":
            for held in self._holding(lambda one: one.lease.slot == slot):
                held.stop("killed")
        elif command == "shutdown":
            self._shut_down()

    def _holding(self, wanted: Callable[[Held], bool]) -> Iterator[Held]:
        return (held for held in self._owner.holding() if wanted(held))
