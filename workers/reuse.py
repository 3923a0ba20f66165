"""The forkserver's children that have more than one attempt, one after another: who is idle, and who may have one more.

    to a child      the spawn message, with its descriptors beside it
    from a child    {"done": sid}, and then it stops itself

Both are needed for an attempt's end. The word alone is only a word; the stop is the kernel's, who also says that the
process has one thread and nothing below it: while an attempt's proofs are read, nothing of it runs. Who is not found so
is killed with all below it, as at the end of any other child.
"""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from proofq.workers import killing, proctree
from proofq.workers.wire import Channel, WireError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Seconds after which a child that nothing was found for is ended.
IDLE_S: Final = 30.0
#: Most children that wait for their next attempt, of all agents of a worker together.
MAX_IDLE: Final = 64
#: Longest message from or to a child; one that is longer has a new child.
_MAX_BYTES: Final = 1024 * 1024


@dataclass(slots=True)
class Member:
    """One such child. `key` names those that may stand in for one another, `left` counts the attempts it may have."""

    pid: int
    key: str
    left: int
    channel: Channel
    #: Processor time until the end of its last attempt.
    user_s: float = 0.0
    system_s: float = 0.0
    #: Since when it waits, by the boot clock; None while it has an attempt.
    idle_since: float | None = None


class Pool:
    """The members by pid. `Pool` knows nothing of attempts but the numbers of their spawns."""

    def __init__(self) -> None:
        self._members: dict[int, Member] = {}

    def __len__(self) -> int:
        return len(self._members)

    def admit(self, pid: int, reuse: Sequence[Any], ours: socket.socket) -> None:
        """A child was forked for its first attempt; `reuse` is its key, and how many it may have."""
        key, most = reuse
        self._members[pid] = Member(pid, key, most - 1, Channel(ours, _MAX_BYTES))

    def forget(self, pid: int) -> None:
        """It is dead."""
        member = self._members.pop(pid, None)
        if member is not None:
            member.channel.close()

    def hand_over(self, body: Mapping[str, Any], fds: Sequence[int]) -> int | None:
        """Give an attempt to the idle child that was last busy; its pid, None where there is none."""
        idle = [one for one in self._members.values() if one.idle_since is not None and one.key == body["reuse"][0]]
        while idle:
            member = max(idle, key=lambda one: one.idle_since or 0.0)
            idle.remove(member)
            # Whoever was continued by somebody else may have done anything since it was looked at.
            if _stands_alone(member.pid) and member.channel.offer(dict(body), fds):
                member.idle_since = None
                member.left -= 1
                killing.send(member.pid, signal.SIGCONT)
                return member.pid
            self._end(member)
        return None

    def says_done(self, pid: int, sid: int) -> bool:
        """Whether a child that has stopped says that this attempt has ended; anybody may stop it for other reasons."""
        member = self._members.get(pid)
        done = False
        if member is not None and member.idle_since is None:
            with suppress(WireError):
                for message in member.channel.read():
                    done = done or message.body.get("done") == sid
                    for descriptor in message.fds:
                        os.close(descriptor)
        return done

    def keeps(self, pid: int, now: float) -> bool:
        """Whether a child whose attempt is done waits for the next: it stands still, alone, and may have one more."""
        member = self._members[pid]
        idle = sum(one.idle_since is not None for one in self._members.values())
        if member.left <= 0 or idle >= MAX_IDLE or not _stands_alone(pid):
            return False
        member.idle_since = now
        return True

    def spent(self, pid: int, usage: Any) -> dict[str, float]:
        """What the attempt that ends now has used of all that its process has; the memory is the most it ever had."""
        spent = {"max_rss_kib": usage.ru_maxrss, "user_s": usage.ru_utime, "system_s": usage.ru_stime}
        member = self._members.get(pid)
        if member is not None:
            spent["user_s"] -= member.user_s
            spent["system_s"] -= member.system_s
            member.user_s, member.system_s = usage.ru_utime, usage.ru_stime
        return spent

    def end_idle(self, now: float) -> None:
        """End those that have waited for too long."""
        for member in self._idle_before(now - IDLE_S):
            self._end(member)

    def _idle_before(self, since: float) -> Iterable[Member]:
        members = list(self._members.values())
        return [one for one in members if one.idle_since is not None and one.idle_since < since]

    def _end(self, member: Member) -> None:
        # Nothing is below it, or it would not be idle.
        member.key = ""
        killing.send(member.pid, signal.SIGKILL)


def _stands_alone(pid: int) -> bool:
    process = proctree.read(pid)
    return process is not None and process.state == "T" and process.threads == 1 and not _has_children(pid)


def _has_children(pid: int) -> bool:
    """Complete, since the process stands still: nobody collects what is below it."""
    try:
        return bool(Path(f"/proc/{pid}/task/{pid}/children").read_bytes().strip())
    except OSError:
        return bool(proctree.children(pid))
