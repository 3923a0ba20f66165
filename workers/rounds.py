"""Goes through a long list in short pieces, so that no single step that Redis takes for it is long."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Rounds(Generic[Item]):
    """Hands out `items` in pieces of at most `most`, in turn, all of them about once in `every_s` seconds."""

    def __init__(self, items: Sequence[Item], most: int, every_s: float) -> None:
        self._items = list(items)
        count = max(1, math.ceil(len(self._items) / most))
        self._size = math.ceil(len(self._items) / count)
        self._pause_s = every_s / count
        self._start = 0
        self._due_s = -math.inf

    def due(self, now_s: float) -> list[Item]:
        """The next piece, if it is time for it; else nothing."""
        if not self._items or now_s < self._due_s:
            return []
        self._due_s = now_s + self._pause_s
        piece = self._items[self._start : self._start + self._size]
        self._start += self._size
        if self._start >= len(self._items):
            self._start = 0
        return piece
