"""A known key is hidden wherever it stands: in values, and in streams however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofq.policies.redaction import HIDDEN, Veil, spellings, without

KEY = 'sk-"quoted"-ключ-0123456789'


def test_a_key_has_the_spellings_that_json_gives_it() -> None:
    """As it is, and escaped in both ways; a value too short to be a secret has none."""
    assert spellings(KEY) == (
        KEY,
        r"sk-\"quoted\"-\u043a\u043b\u044e\u0447-0123456789",
        r"sk-\"quoted\"-ключ-0123456789",
    )
    assert spellings("plain-key") == ("plain-key",)
    assert spellings("") == spellings("dummy") == ()


def test_values_are_searched_to_the_bottom() -> None:
    """Texts, lists, objects and their names; what is no text stays as it is."""
    value = {"a": [f"x{KEY}y{KEY}", 1, None, {KEY: True}], "b": 2.5}
    assert without(value, spellings(KEY)) == {"a": [f"x{HIDDEN}y{HIDDEN}", 1, None, {HIDDEN: True}], "b": 2.5}
    assert without(value, ()) == value


@pytest.mark.parametrize("known", ["abcabcabd", "aaaaaaaa", "0123456789"])
@given(data=st.data())
def test_a_stream_hides_it_however_it_is_cut(known: str, data: st.DataObject) -> None:
    """Whatever the pieces, what comes out is the whole text with every key hidden, and little is held back."""
    pieces = st.sampled_from([known, known[:4], known[-4:], "a", "ab", "0", "\n", "text "])
    parts = data.draw(st.lists(pieces, max_size=12))
    whole = "".join(parts).encode()
    veil, shown = Veil((known,)), b""
    start = 0
    while start < len(whole):
        size = data.draw(st.integers(1, 12))
        shown += veil.pass_(whole[start : start + size])
        start += size
    assert known.encode() not in shown
    shown += veil.rest()
    assert known.encode() not in shown
    assert shown == whole.replace(known.encode(), HIDDEN.encode())
