"""`proofq spend`: what agents have spent, and how full their budgets are."""

from __future__ import annotations

import click

from proofq.policies import budget
from proofq.workers.cli.command import command
from proofq.workers.cli.render import Output


@command("spend", "proofq spend", "proofq spend --days 30 --agent note", "proofq spend --json | jq .budgets")
@click.option("--days", type=click.IntRange(1, budget.LEDGER_DAYS), default=7, show_default=True, help="Days of UTC.")
@click.option("--agent", help="Only what this agent has spent.")
def spend(output: Output, days: int, agent: str | None) -> None:
    """Show what was spent by day, agent and failure class, and how full each budget of the present window is.

    Class none: the attempts did not fail; open: they still run, or nobody saw their end. In JSON the budgets stand
    beside the items.
    """
    from proofq.workers import books, session

    store = session.open_store().store
    rows, full = list(books.spent(store, days, agent)), books.budgets(store, store.clock.wall())
    if output.as_json:
        output.listed("items", rows, lambda: {"budgets": full})
        return
    columns = ["day", "agent", "class", *budget.UNITS]
    output.table(
        columns, ([f"{each[name]:g}" if name in budget.UNITS else each[name] for name in columns] for each in rows)
    )
    if full:
        output.line()
        columns = ["owner", "name", "per", "window", "limits", "spent", "reached"]
        output.table(columns, ([each[name] for name in columns] for each in full))
