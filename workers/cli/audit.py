"""`proofq audit`: whether everything in Redis agrees with itself."""

from __future__ import annotations

import click

from proofq.workers.cli import exit_codes
from proofq.workers.cli.command import command
from proofq.workers.cli.render import Output
from proofq.workers.errors import NotBuilt


@command(
    "audit", "proofq audit", "proofq audit --json | jq .violations", short="Check the integrity of everything in Redis."
)
@click.option("--repair", is_flag=True, help="Not built yet: send the events that mend what was found.")
def audit(output: Output, repair: bool) -> int:
    """Check the integrity of everything proofq keeps in Redis; exit 1 on any violation.

    Every task's breadcrumbs are folded through the table of transitions and compared with its state, its fields, its
    attempts and RQ's view of it. Nothing is changed, and workers may run meanwhile.
    """
    if repair:
        raise NotBuilt("audit --repair is not built yet; audit alone says what is wrong.")
    from proofq.workers import session
    from proofq.workers.audit import Audit

    report = Audit(session.open_store().store).run()
    if output.as_json:
        output.document(report.to_dict())
    else:
        if report.violations:
            output.table(["rule", "subject", "detail"], ([v.rule, v.subject, v.detail] for v in report.violations))
        output.line(f"{report.checked} tasks checked, {len(report.violations)} violations")
    return exit_codes.ERROR if report.violations else exit_codes.OK
