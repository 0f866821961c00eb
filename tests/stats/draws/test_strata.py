import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitlens.stats.draws import strata
from unitlens.stats.draws.strata import alike


def split_one_by_one(present, groups, fewest):
    """The strata by their definition, with what is present in all images at hand."""
    stratum, pending, done = np.zeros(len(present), int), [np.arange(len(present))], 0
    while pending:
        images = pending.pop()
        count = present[images].sum(0)
        for concept in sorted(range(present.shape[1]), key=lambda c: -min(count[c], len(images) - count[c])):
            halves = [images[present[images, concept] == there] for there in (True, False)]
            if min(len(set(groups[half])) for half in halves) >= fewest:
                pending += halves
                break
        else:
            stratum[images], done = done, done + 1
    return stratum


@given(images=st.integers(1, 80), concepts=st.integers(0, 6), seed=st.integers(0, 99))
def test_strata_have_the_fewest_groups_or_are_all_images(images, concepts, seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, images, images)
    present = rng.random((images, concepts)) < rng.random(concepts)
    stratum = alike(lambda some: present[some], images, groups=groups, fewest=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strata, "IN_MEMORY", 20)
        patch.setattr(strata, "_IMAGES_AT_ONCE", 7)
        read_by_blocks = alike(lambda some: present[some], images, groups=groups, fewest=5)
    assert stratum.tolist() == read_by_blocks.tolist() == split_one_by_one(present, groups, 5).tolist()
    alone = alike(lambda some: present[some], images, fewest=5)
    assert alone.tolist() == split_one_by_one(present, np.arange(images), 5).tolist()
    number = stratum.max() + 1
    assert set(stratum) == set(range(number))
    for one in range(number) if number > 1 else ():
        assert len(np.unique(groups[stratum == one])) >= 5


def test_kinds_of_images_with_concepts_of_their_own_are_told_apart():
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 4, 200)
    present = (np.arange(16)[None] % 4 == kind[:, None]) & (rng.random((200, 16)) < 0.8)
    stratum = alike(lambda images: present[images], 200)
    pure = [max(np.bincount(kind[stratum == one])) / (stratum == one).sum() for one in range(stratum.max() + 1)]
    assert np.mean(pure) > 0.9


@pytest.mark.parametrize("present", [np.zeros((30, 3), bool), np.ones((30, 3), bool), np.zeros((30, 0), bool)])
def test_images_that_differ_in_nothing_are_one_stratum(present):
    assert (alike(lambda images: present[images], 30) == 0).all()
