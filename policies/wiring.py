"""What an agent must have called, and whether it has: a claim without all of its declared steps is not verified.

Pure. A step tells that a part of the agent was really run and came back; that its work is in the world the proofs say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from proofq.policies.verdict import ProofResult, Verdict

#: Steps that are kept of one attempt, each once; later ones are passed over.
MAX_STEPS: Final = 100
#: What the result of looking at the steps is called among those of the proofs.
KIND: Final = "must_call"


def missing(must_call: Sequence[str], called: Sequence[str]) -> tuple[str, ...]:
    """The declared steps that did not come back, in the order they were declared."""
    return tuple(name for name in must_call if name not in called)


def verdict(must_call: Sequence[str], called: Sequence[str], claim: Any) -> Verdict:
    """Of an attempt that claims without having called them all. The evidence keeps the claim, cut to a size."""
    absent = missing(must_call, called)
    reason = f"it claims to be done and never finished {', '.join(absent)}, which its must_call names"
    evidence = {"reason": reason, "missing": list(absent), "called": list(called), "claim": claim}
    return Verdict("unverified", (ProofResult(KIND, "unverified", evidence),))
