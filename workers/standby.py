"""The forkserver's children that were forked ahead: each waits for one attempt of a function, and has no other.

A fork takes longer than all else between a lease and the first line of an agent. Made while the forkserver has nothing
else to do, it is not waited for.

    to a child      the spawn message, with its descriptors beside it
"""

from __future__ import annotations

import os
import socket
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from proofq.workers import child, proctree
from proofq.workers.fork import Stage, fork_early, keep_only
from proofq.workers.wire import Channel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from proofq.workers.preload import Agents

#: What `ps -o comm` calls a child that waits.
NAME: Final = "proofq-standby"
#: The child's number of the socket on which it waits; above those of any stage.
_CONTROL: Final = 3
#: Longest message to a child; an attempt that has a longer one has a fork of its own.
_MAX_BYTES: Final = 1024 * 1024
#: Those that may die while they wait, between two attempts that could have used one: what kills the next as fast as it
#: is forked, an out-of-memory killer say, must not have the forkserver do nothing else.
MOST_LOST: Final = 10


class _Waiting(NamedTuple):
    pid: int
    channel: Channel


class Standby:
    """Up to `wanted` children, kept ready from the first attempt on that could have used one."""

    def __init__(self, wanted: int, agents: Agents | None) -> None:
        self._wanted = wanted
        self._agents = agents
        self._waiting: deque[_Waiting] = deque()
        self._used = False
        self._filling = False
        self._lost = 0

    def give_up(self) -> None:
        """None can be forked now: the next attempt that could have used one is when to try again."""
        self._used = False

    @property
    def short(self) -> bool:
        """Whether one more is to be forked: as many as are wanted, and then none until half of them are gone.

        What the forkserver touches after a fork it copies page by page, and after the next fork again: of several in a
        row only the last one costs that.
        """
        if len(self._waiting) * 2 <= self._wanted:
            self._filling = True
        elif len(self._waiting) >= self._wanted:
            self._filling = False
        return self._used and self._filling

    def fill(self) -> int:
        """Fork one more; its pid. Raises OSError."""
        # Only who has agents is ever short of one.
        agents = self._agents or {}
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                pid = fork_early(lambda: _await_part(theirs, agents))
            except OSError:
                ours.close()
                raise
        self._waiting.append(_Waiting(pid, Channel(ours, _MAX_BYTES)))
        return pid

    def hand_over(self, body: Mapping[str, Any], fds: Sequence[int]) -> int | None:
        """Give an attempt to the one that has waited longest; its pid, None where there is none."""
        if self._agents is None or body["kind"] != "function" or body["runner"] != child.RUN_AGENT:
            return None
        self._used, self._lost = True, 0
        while self._waiting:
            one = self._waiting.popleft()
            taken = one.channel.offer(dict(body), fds)
            one.channel.close()
            # Else it is dead, or leaves now that no more of its message comes.
            if taken:
                return one.pid
        return None

    def forget(self, pid: int) -> None:
        """It is dead."""
        for one in [one for one in self._waiting if one.pid == pid]:
            self._waiting.remove(one)
            one.channel.close()
            self._lost += 1
        if self._lost > MOST_LOST:
            self.give_up()


def _await_part(control: socket.socket, agents: Agents) -> tuple[Stage, Callable[[], int]]:
    """Runs in the child: holds nothing of the forkserver's while it waits, so that its end is seen by all."""
    keep_only({0: 0, 1: 1, 2: 2, _CONTROL: control.fileno()}, {_CONTROL})
    name = proctree.rename(NAME)
    channel = Channel(socket.socket(fileno=_CONTROL), _MAX_BYTES)
    message = next(channel.receive(), None)
    if message is None:
        # The forkserver is gone, or gave up on this one.
        os._exit(0)
    proctree.rename(name)
    # Before its number is another descriptor's.
    channel.close()
    body = message.body
    fds = dict(zip(body["targets"], message.fds, strict=True))
    report, payload = body["report"], body["payload"]
    stage = Stage(body["cwd"], fds, report, frozenset({report, payload}), body["ticks"])
    return stage, lambda: child.run(body["runner"], agents, body["env"], payload, report)
