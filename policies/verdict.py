"""What proofs found: one result for each proof, one verdict for the attempt. Data only.

A result is `verified`, `unverified` (the proof looked, and it is not so) or `cannot_tell` (the proof could
not look: target not reachable from here, deadline passed, file changing while it was read). Evidence is what
was seen, small and safe to store: plain JSON, strings cut, no NaN, no lone surrogates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any, Literal, TypeAlias, get_args

from proofq.policies.fast_dataclass import fast_dataclass

JSON: TypeAlias = Any
Outcome = Literal["verified", "unverified", "cannot_tell"]
#: Failure class of a proof that is unverified.
ProofClass = Literal["unverified", "malformed_output", "bad_input"]

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
PROOF_CLASSES: tuple[ProofClass, ...] = get_args(ProofClass)

#: Caps of evidence: characters of one string, members of one object or list, levels, and values in all.
MAX_TEXT = 500
MAX_MEMBERS = 20
MAX_DEPTH = 5
MAX_VALUES = 64


@fast_dataclass(frozen=True)
class ProofResult:
    """What one proof found. `class_` matters only where the outcome is `unverified`."""

    kind: str
    outcome: Outcome
    evidence: Mapping[str, JSON] = field(default_factory=dict)
    class_: ProofClass = "unverified"

    @property
    def reason(self) -> str:
        """One sentence of why, empty where the proof holds or gave none."""
        return str(self.evidence.get("reason", ""))

    def to_dict(self) -> dict[str, JSON]:
        """Give {"kind", "outcome", "evidence"}, with "class" where the proof failed."""
        data: dict[str, JSON] = {"kind": self.kind, "outcome": self.outcome, "evidence": small(self.evidence)}
        if self.outcome == "unverified":
            data["class"] = self.class_
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, JSON]) -> ProofResult:
        """Read what `to_dict` gave. Raises ValueError where it is something else."""
        outcome, class_ = data.get("outcome"), data.get("class", "unverified")
        evidence = data.get("evidence")
        if outcome not in OUTCOMES or class_ not in PROOF_CLASSES or not isinstance(evidence, Mapping):
            raise ValueError(f"not the result of a proof: {str(data)[:200]}")
        return cls(kind=str(data.get("kind")), outcome=outcome, evidence=dict(evidence), class_=class_)


@fast_dataclass(frozen=True)
class Verdict:
    """What all proofs of an attempt found together, in the order they were declared."""

    outcome: Outcome
    proofs: tuple[ProofResult, ...]

    @property
    def decisive(self) -> ProofResult | None:
        """The first proof that has the verdict's outcome; None where everything is verified."""
        if self.outcome == "verified":
            return None
        return next(result for result in self.proofs if result.outcome == self.outcome)

    @property
    def class_(self) -> ProofClass | None:
        """Failure class of the decisive proof; None unless the outcome is `unverified`."""
        decisive = self.decisive
        return decisive.class_ if decisive is not None and self.outcome == "unverified" else None

    @property
    def reason(self) -> str:
        """One sentence naming the decisive proof; empty where everything is verified."""
        decisive = self.decisive
        if decisive is None:
            return ""
        return f"{decisive.kind} proof: {decisive.reason or decisive.outcome}"

    def to_dict(self) -> dict[str, JSON]:
        """Give the verdict of the contract: {"outcome", "proofs": [{"kind", "outcome", "evidence"}]}."""
        return {"outcome": self.outcome, "proofs": [result.to_dict() for result in self.proofs]}

    @classmethod
    def from_dict(cls, data: Mapping[str, JSON]) -> Verdict:
        """Read what `to_dict` gave. Raises ValueError where it is something else."""
        verdict = combine(ProofResult.from_dict(result) for result in data["proofs"])
        if verdict.outcome != data.get("outcome"):
            raise ValueError(f"a verdict that its proofs do not bear out: {data.get('outcome')!r}")
        return verdict


def combine(results: Iterable[ProofResult]) -> Verdict:
    """Give the verdict: any unverified → unverified; else any cannot_tell → cannot_tell; else verified.

    Raises ValueError without any result: nothing proven is not the same as everything proven.
    """
    proofs = tuple(results)
    if not proofs:
        raise ValueError("no verdict without a proof")
    found = {result.outcome for result in proofs}
    for outcome in ("unverified", "cannot_tell"):
        if outcome in found:
            return Verdict(outcome, proofs)
    return Verdict("verified", proofs)


def small(evidence: Mapping[str, JSON]) -> dict[str, JSON]:
    """Give the evidence as plain JSON within the caps above; what is not JSON becomes text, cuts show."""
    if len(evidence) <= MAX_MEMBERS and all(_is_short(name) and _is_small(value) for name, value in evidence.items()):
        # Nearly all of it is: a few short texts and numbers.
        return dict(evidence)
    kept: dict[str, JSON] = _Cutter().cut(evidence, MAX_DEPTH)
    return kept


def _is_short(value: object) -> bool:
    return type(value) is str and len(value) <= MAX_TEXT and value.isascii()


def _is_small(value: JSON) -> bool:
    return _is_short(value) or value is None or type(value) is bool or (type(value) is int and abs(value) < 2**63)


class _Cutter:
    def __init__(self) -> None:
        self.left = MAX_VALUES

    def cut(self, value: JSON, depth: int) -> JSON:
        self.left -= 1
        # Most evidence is short text.
        if type(value) is str:
            return _text(value)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            # Text form of a huge int is refused by Python itself, and Lua and JavaScript would round it.
            return int(value) if abs(value) < 2**63 else f"an integer of {value.bit_length()} bits"
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else str(value)
        if isinstance(value, Mapping):
            return self._cut_mapping(value, depth)
        if isinstance(value, list | tuple):
            return self._cut_list(value, depth)
        return _text(value)

    def _cut_mapping(self, value: Mapping[Any, JSON], depth: int) -> JSON:
        if depth == 0:
            return f"an object of {len(value)} members"
        kept: dict[str, JSON] = {}
        for key, member in value.items():
            if len(kept) == MAX_MEMBERS or self.left <= 0:
                kept["..."] = f"{len(value) - len(kept)} more"
                break
            kept[_text(key)] = self.cut(member, depth - 1)
        return kept

    def _cut_list(self, value: list[JSON] | tuple[JSON, ...], depth: int) -> JSON:
        if depth == 0:
            return f"a list of {len(value)} members"
        kept: list[JSON] = []
        for member in value:
            if len(kept) == MAX_MEMBERS or self.left <= 0:
                kept.append(f"... {len(value) - len(kept)} more")
                break
            kept.append(self.cut(member, depth - 1))
        return kept


def _text(value: object) -> str:
    if type(value) is str and len(value) <= MAX_TEXT and value.isascii():
        return value
    try:
        text = value if isinstance(value, str) else repr(value)
    except Exception:  # noqa: BLE001
        # Evidence of a user's proof may hold any object; one that cannot be shown must not cost the verdict.
        text = f"<{type(value).__name__}>"
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3]}..."
