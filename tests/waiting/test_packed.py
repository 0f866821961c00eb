"""Packed lists say what was put into them, and known texts are told from new ones."""

import errno
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitlens import packed
from unitlens.errors import UnitlensError
from unitlens.packed import ChoiceOf, Choices, Hashes, Known, Numbers, Texts

LISTS = {
    Numbers: st.lists(st.integers(0, 2**64 - 1)),
    Hashes: st.lists(st.binary(min_size=3, max_size=3)),
    Texts: st.lists(st.text(st.characters())),  # surrogates among them, as in names of files
    Choices: st.lists(st.sampled_from(["a", "", None, 1, True, 1.0])),
}


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("in_memory", [4, packed.IN_MEMORY])
@given(data=st.data())
def test_a_packed_list_is_as_the_list_of_its_values(kind, in_memory, data):
    first, later = data.draw(LISTS[kind]), data.draw(LISTS[kind])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "IN_MEMORY", in_memory)
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


def test_lists_take_no_more_memory_the_more_they_are(monkeypatch):
    monkeypatch.setattr(packed, "IN_MEMORY", 1000)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    texts, hashes = Texts(map(str, range(5000))), Hashes(number.to_bytes(4, "big") for number in range(5000))
    numbers, choices = Numbers(range(2**40, 2**40 + 5000)), Choices(number % 7 for number in range(5000))
    assert (texts[17], texts[4998:], hashes[4321]) == ("17", ["4998", "4999"], (4321).to_bytes(4, "big"))
    some = [4321, 0, 4999, 0, 2500, 2501]
    assert [row.tobytes() for row in hashes.rows(np.array(some))] == [hashes[number] for number in some]
    assert hashes.as_array(999, 1003).tobytes() == b"".join(hashes[999:1003])
    assert texts == Texts(map(str, range(5000))) == list(map(str, range(5000)))
    assert texts != Texts(map(str, range(1, 5001)))
    assert numbers.as_array(999, 1003).tolist() == numbers[999:1003] == list(range(2**40 + 999, 2**40 + 1003))
    assert choices == [number % 7 for number in range(5000)]
    assert all(len(one._bytes._last) <= 1000 for one in (texts, hashes, numbers, choices._numbers))
    assert hashes.nbytes == numbers.nbytes == choices.nbytes == 0
    del texts, hashes, numbers, choices
    assert before is None or len(os.listdir("/proc/self/fd")) == before


def test_a_full_disk_is_a_sentence_and_nothing_is_lost(monkeypatch):
    monkeypatch.setattr(packed, "IN_MEMORY", 10)
    texts = Texts(["one", "two", "three"])

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(UnitlensError, match=r"could not be written under .*No space left.*free some disk.*TMPDIR"):
            texts += ["fourteen"]
    assert list(texts) == ["one", "two", "three"]
    texts += ["four"]
    assert list(texts) == ["one", "two", "three", "four"]


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


def test_known_texts_take_eight_bytes_each():
    known = Known(map(str, range(60_000)))
    assert known.add(["59999", "no", "0"]) == ["59999", "0"]
    assert known._packed.nbytes <= 8 * 60_000
    assert len(known._recent) <= 60_000 / 8


@given(st.data())
def test_a_choice_of_each_text_is_as_a_dictionary(data):
    texts = data.draw(st.lists(st.text(max_size=2), unique=True).map(sorted))
    anything = st.text(max_size=2) if not texts else st.sampled_from(texts) | st.text(max_size=2)
    packed_one, plain = ChoiceOf(texts), {}
    for text, value in data.draw(st.lists(st.tuples(anything, st.sampled_from(["cat", "dog", 1, None])))):
        if value is None and text in plain:
            del packed_one[text], plain[text]
        elif value is None:
            with pytest.raises(KeyError):
                del packed_one[text]
        else:
            assert packed_one.setdefault(text, "cat") == plain.setdefault(text, "cat")
            packed_one[text] = plain[text] = value
        assert packed_one.get(text) == plain.get(text)
    assert (packed_one, len(packed_one)) == (plain, len(plain))
    listed = [text for text in texts if text in plain]
    assert list(packed_one) == listed + [text for text in plain if text not in texts]
    assert set(packed_one.of_list()) == {plain[text] for text in listed}
