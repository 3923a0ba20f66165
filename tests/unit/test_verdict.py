"""Verdicts follow from results, and evidence is always small plain JSON."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofq.policies.verdict import MAX_DEPTH, MAX_TEXT, OUTCOMES, ProofResult, Verdict, _Cutter, combine, small

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.builds(lambda: 10**6000)
    | st.builds(object),
    lambda inner: (
        st.lists(inner, max_size=40)
        | st.dictionaries(st.text(max_size=5) | st.integers(0, 50), inner, max_size=40)
        | st.tuples(inner, inner)
    ),
    max_leaves=20,
)


def _result(outcome: Any, kind: str = "file", class_: Any = "unverified") -> ProofResult:
    return ProofResult(kind, outcome, {"reason": f"because {kind}"}, class_)


@pytest.mark.parametrize("outcomes", [each for n in (1, 2, 3) for each in product(OUTCOMES, repeat=n)])
def test_the_worst_result_decides(outcomes: tuple[Any, ...]) -> None:
    """Any unverified → unverified; else any cannot_tell → cannot_tell; else verified."""
    verdict = combine(_result(outcome) for outcome in outcomes)
    worst = next(each for each in ("unverified", "cannot_tell", "verified") if each in outcomes)
    assert verdict.outcome == worst
    assert [result.outcome for result in verdict.proofs] == list(outcomes)


def test_no_proof_is_no_verdict() -> None:
    """Nothing proven is not everything proven."""
    with pytest.raises(ValueError, match="without a proof"):
        combine([])


def test_the_decisive_proof_gives_class_and_reason() -> None:
    """The first proof that failed names the failure."""
    verdict = combine(
        [_result("verified"), _result("cannot_tell", "python"), _result("unverified", "json", "malformed_output")]
    )
    assert verdict.class_ == "malformed_output"
    assert verdict.reason == "json proof: because json"
    assert combine([_result("cannot_tell", "python")]).class_ is None
    assert combine([_result("cannot_tell", "python")]).reason == "python proof: because python"
    assert combine([_result("verified")]).reason == ""


def test_the_dictionary_is_the_contracts() -> None:
    """`to_dict` has the keys of the contract, and `from_dict` reads it back."""
    verdict = combine([_result("verified"), _result("unverified", "json", "malformed_output")])
    shown = verdict.to_dict()
    assert shown == {
        "outcome": "unverified",
        "proofs": [
            {"kind": "file", "outcome": "verified", "evidence": {"reason": "because file"}},
            {
                "kind": "json",
                "outcome": "unverified",
                "evidence": {"reason": "because json"},
                "class": "malformed_output",
            },
        ],
    }
    assert Verdict.from_dict(json.loads(json.dumps(shown))) == verdict


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "file", "outcome": "fine", "evidence": {}},
        {"kind": "file", "outcome": "verified", "evidence": None},
        {"kind": "file", "outcome": "unverified", "evidence": {}, "class": "crash"},
    ],
)
def test_what_is_no_result_is_refused(data: dict[str, Any]) -> None:
    """A result from another process is not taken on trust."""
    with pytest.raises(ValueError, match="not the result"):
        ProofResult.from_dict(data)


def test_a_verdict_must_follow_from_its_proofs() -> None:
    """A stored verdict that claims more than its proofs is refused."""
    shown = combine([_result("unverified")]).to_dict() | {"outcome": "verified"}
    with pytest.raises(ValueError, match="do not bear out"):
        Verdict.from_dict(shown)


@given(st.dictionaries(st.text(max_size=5), ANYTHING, max_size=5))
def test_evidence_is_always_small_plain_json(evidence: dict[str, Any]) -> None:
    """Whatever a proof gives, strict JSON of at most some hundred KiB comes out."""
    kept = small(evidence)
    text = json.dumps(kept, allow_nan=False, ensure_ascii=False).encode("utf-8")
    assert len(text) < 256 * 1024


@given(st.dictionaries(st.text(max_size=5), ANYTHING, max_size=5))
def test_evidence_that_is_small_already_stays_as_it_is(evidence: dict[str, Any]) -> None:
    """Told at a look, it is what cutting would give."""
    assert json.dumps(small(evidence)) == json.dumps(_Cutter().cut(evidence, MAX_DEPTH))


def test_evidence_is_cut_visibly() -> None:
    """Long text, long lists and deep nesting are cut, and it shows."""
    deep: Any = "x"
    for _ in range(20):
        deep = [deep]
    kept = small({"text": "x" * 9999, "many": list(range(9999)), "deep": deep, "n": float("nan")})
    assert len(kept["text"]) == MAX_TEXT
    assert kept["text"].endswith("...")
    assert kept["many"][-1] == "... 9979 more"
    assert "a list of 1 members" in json.dumps(kept["deep"])
    assert kept["n"] == "nan"


def test_evidence_that_cannot_be_shown_costs_nothing() -> None:
    """An object whose repr raises becomes the name of its type."""

    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert small({"seen": Shy()}) == {"seen": "<Shy>"}
