"""`proofq audit`: whether everything in Redis agrees with itself."""

from __future__ import annotations

import click

from proofq.workers.cli import exit_codes
from proofq.workers.cli.command import command
from proofq.workers.cli.render import Output


@command(
    "audit",
    "proofq audit",
    "proofq audit --json | jq .violations",
    "proofq audit --repair",
    short="Check the integrity of everything in Redis.",
)
@click.option("--repair", is_flag=True, help="Put right what follows from the tasks' own rows, and check again.")
def audit(output: Output, repair: bool) -> int:
    """Check the integrity of everything proofq keeps in Redis; exit 1 on any violation.

    Every task's breadcrumbs are folded through the table of transitions and compared with its state, its fields, its
    attempts and RQ's view of it. Nothing is changed, and workers may run meanwhile.

    With --repair what is only shown or listed of a task is put right by what its row says, each with a breadcrumb of
    "audit"; then everything is checked again, and the exit code says whether anything is left for a human.
    """
    from proofq.workers import session
    from proofq.workers.audit import Audit
    from proofq.workers.repair import Repair, Repaired

    opened = session.open_store()
    report = Repair(opened.store, opened.door).run() if repair else Audit(opened.store).run()
    if output.as_json:
        output.document(report.to_dict())
    else:
        if isinstance(report, Repaired):
            output.table(["repaired", "subject", "was"], ([v.rule, v.subject, v.detail] for v in report.repaired))
        if report.violations:
            output.table(["rule", "subject", "detail"], ([v.rule, v.subject, v.detail] for v in report.violations))
        output.line(f"{report.checked} tasks checked, {len(report.violations)} violations")
    return exit_codes.ERROR if report.violations else exit_codes.OK
