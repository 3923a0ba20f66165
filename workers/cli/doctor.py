"""`proofq doctor`: is everything here as it must be, and what could be lost?"""

from __future__ import annotations

from proofq.workers.cli import exit_codes
from proofq.workers.cli.command import command
from proofq.workers.cli.render import Output


@command(
    "doctor",
    "proofq doctor",
    "proofq doctor --json | jq '.checks[] | select(.ok | not)'",
    short="Check installation, project and Redis, and what could be lost.",
)
def doctor(output: Output) -> int:
    """Check the installation, the project, its Redis, and what could be lost; exit 1 if anything is not as it must be.

    The agents' modules are imported for it.
    """
    from proofq.workers.doctor import examine

    checks = examine()
    sound = all(check.ok for check in checks)
    if output.as_json:
        output.document(
            {"ok": sound, "checks": [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks]}
        )
    else:
        output.table(
            ["", "check", "detail"], (["ok" if check.ok else "NO", check.name, check.detail] for check in checks)
        )
        output.line("all is well" if sound else "not everything is as it must be")
    return exit_codes.OK if sound else exit_codes.ERROR
