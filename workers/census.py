"""How many tasks are in which state, and what stands at the head of each queue: one script's answer, as values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class QueueHead:
    """One queue that has something in it: its lane and agent, its length, and the task that has stood there longest.

    `enqueued_at`: when that task was enqueued, epoch milliseconds; None where its row cannot be read.
    """

    lane: str
    agent: str
    length: int
    head: str
    enqueued_at: int | None


@dataclass(frozen=True)
class Census:
    """As of one instant, `now` (epoch milliseconds of the server). `lanes`: lane -> state -> tasks; `listed`: all tasks
    there are; `strays`: ids taken out of queues that are no tasks; `damaged`: (key, its type) counted as empty."""

    now: int
    lanes: Mapping[str, Mapping[str, int]]
    listed: int
    queues: list[QueueHead]
    strays: int
    damaged: list[tuple[str, str]]

    @property
    def uncounted(self) -> int:
        """Tasks that no lane counts: moved while a stranger's key stood where they are counted."""
        return max(0, self.listed - sum(sum(states.values()) for states in self.lanes.values()))

    @classmethod
    def parse(cls, raw: bytes) -> Census:
        """From the answer of census.lua."""
        answer = json.loads(raw.decode("utf-8", "replace"))
        queues = []
        for queue, length, head, born in answer["queues"]:
            lane, _, agent = queue.partition(".")
            if length:
                queues.append(QueueHead(lane, agent, int(length), head, int(float(born)) if born else None))
        return cls(
            now=int(answer["now"]),
            lanes=answer["lanes"],
            listed=int(answer["listed"]),
            queues=sorted(queues, key=lambda one: (one.lane, one.agent)),
            strays=int(answer["strays"]),
            damaged=[(key, actual) for key, actual in answer["damaged"]],
        )
