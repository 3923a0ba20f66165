"""What `ctx.spend` gives: something that was taken from the budgets, and may turn out to have cost otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class Taken:
    """What was taken. `ask` asks the supervisor."""

    def __init__(self, ask: Callable[[str, dict[str, Any]], Any], amounts: Mapping[str, float]) -> None:
        self._ask = ask
        self._amounts = dict(amounts)

    def settle(self, usd: float = 0.0, tokens: int = 0, requests: int = 0) -> Any:
        """Say what it came to, all of it: the rest is given back, and what is more is counted, whatever is left.

        Of an async agent to be awaited. Raises as `Context.spend` does, but for BudgetReached.
        """
        before, self._amounts = self._amounts, said(usd, tokens, requests)
        return self._ask("spend.settle", {"taken": before, "used": self._amounts})


def said(usd: float, tokens: int, requests: int) -> dict[str, float]:
    """Those of the amounts that are not 0."""
    return {name: value for name, value in (("usd", usd), ("tokens", tokens), ("requests", requests)) if value != 0}
