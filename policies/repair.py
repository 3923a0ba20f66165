"""What an attempt is told of the last one's output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

#: The class whose response is another attempt that knows why the last output was refused.
REFUSED: Final = "malformed_output"


def of(records: Iterable[Mapping[str, Any]]) -> str | None:
    """Why the last output was refused, by the records of the attempts so far, in order; None where it was not.

    Only attempts that count have had their say: one that a dying worker, a drain or the host cut short neither brings
    a reason nor takes one away, while a failure of any other class does take it away.
    """
    counted = [record for record in records if record.get("counted")]
    if not counted or counted[-1].get("class") != REFUSED:
        return None
    return str(counted[-1].get("reason", ""))
