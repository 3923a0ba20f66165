"""A dataclass for values that are made at every step of an attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as fast_dataclass
else:

    def fast_dataclass(**_: Any) -> Any:
        """Frozen for whoever checks types, with `frozen=True`.

        At run time it is not, and has no hash: a frozen one sets each field by `object.__setattr__`, which takes three
        times as long, and an attempt makes some 25 values of these kinds, with 180 fields.
        """
        return dataclass(eq=True)


__all__ = ["fast_dataclass"]
