"""Packed lists say what was put into them, and known texts are told from new ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitlens import packed
from unitlens.packed import Choices, Hashes, Known, Numbers, Texts

LISTS = {
    Numbers: st.lists(st.integers(0, 2**64 - 1)),
    Hashes: st.lists(st.binary(min_size=3, max_size=3)),
    Texts: st.lists(st.text(st.characters())),  # surrogates among them, as in names of files
    Choices: st.lists(st.sampled_from(["a", "", None, 1, True, 1.0])),
}


@pytest.mark.parametrize("kind", LISTS)
@given(data=st.data())
def test_a_packed_list_is_as_the_list_of_its_values(kind, data):
    first, later = data.draw(LISTS[kind]), data.draw(LISTS[kind])
    one, values = kind(first), [*first, *later]
    one += later
    assert list(map(repr, one)) == list(map(repr, values))  # 1 is not True
    assert one == values == list(one[:])
    assert (one == [*values, values]) is False
    assert [one[-place] for place in range(1, len(one) + 1)] == values[::-1]
    assert one[1::2] == values[1::2]
    with pytest.raises(IndexError):
        one[len(values)]


def test_columns_of_other_texts_differ():
    assert Texts(["ab", "c"]) != Texts(["a", "bc"])
    assert Texts(["ab", "c"]) == Texts(["ab", "c"])


def test_hashes_are_of_one_size():
    with pytest.raises(ValueError, match="2 bytes among values of 3"):
        Hashes([b"abc", b"de"])


@given(st.lists(st.lists(st.text(max_size=2), max_size=5), max_size=20))
def test_known_texts_are_those_that_came_before(batches):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "_MANY", 4)
        known, before = Known(), []
        for texts in batches:
            new = known.add(texts)
            assert new == [text for place, text in enumerate(texts) if text in before or text in texts[:place]]
            before += texts
