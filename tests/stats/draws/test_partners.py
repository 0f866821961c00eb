import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stats.draws.all_partners import all_partners
from unitlens.stats.draws.partners import Partners, choose_partners


def partners(*args, **options):
    """The partners of all images, (draws, N)."""
    return choose_partners(*args, **options).of(range(len(args[0])))


@settings(max_examples=150)
@given(data=st.data())
def test_partners_are_those_of_the_array_of_all(data):
    count, seed = data.draw(st.integers(1, 60)), data.draw(st.integers(0, 99))
    rng, draws = np.random.default_rng(seed), data.draw(st.sampled_from([0, 1, 4, 8, 20]))
    numbers = {name: data.draw(st.none() | st.integers(1, count), label=name) for name in ("groups", "strata")}
    given = {name: None if most is None else rng.integers(0, most, count) for name, most in numbers.items()}
    given["order"] = data.draw(st.none() | st.just(rng.permutation(count)))
    annotated = rng.integers(0, data.draw(st.integers(1, 3)), count).tolist()
    hashes = rng.integers(0, 2**63, count).tolist()
    found = choose_partners(hashes, annotated, draws=draws, seed=seed, **given)
    expected = all_partners(hashes, annotated, draws=draws, seed=seed, **given)
    assert (found.images, len(found)) == (count, len(expected))
    assert found.of(range(count)).tolist() == expected.tolist() == [draw.tolist() for draw in found]
    some = rng.integers(0, count, 7)
    assert found.of(some).tolist() == expected[:, some].tolist()
    assert found.of(range(count // 2, count)).tolist() == expected[:, count // 2 :].tolist()
    assert found.of(range(0)).shape == (len(expected), 0)
    assert Partners.joined(found, found).of(some).tolist() == np.tile(expected, (2, 1))[:, some].tolist()


def test_partners_of_many_images_take_hardly_any_memory():
    images, draws = 30_000, 40
    rng = np.random.default_rng(0)
    hashes, strata = rng.permutation(images).tolist(), rng.integers(0, images // 100, images)
    for kinds, most in ((None, 0.1), (strata, 1)):
        (part,) = choose_partners(hashes, [1] * images, draws=draws, strata=kinds).parts
        held = (part.start, part.moves, part.table_of, part.tables)
        assert sum(array.nbytes for array in held) <= most * images


@settings(max_examples=40)
@given(count=st.integers(1, 60), kinds=st.integers(1, 6), seed=st.integers(0, 99))
def test_partners_are_annotated_for_the_same_and_each_is_used_once_a_draw(count, kinds, seed):
    rng = np.random.default_rng(seed)
    annotated = rng.integers(0, kinds, count).tolist()
    hashes = rng.permutation(10**6)[:count].tolist()
    drawn = partners(hashes, annotated, draws=4, seed=seed)
    sizes = [annotated.count(kind) for kind in set(annotated)]
    possible = math.prod(size if size > 4 else math.factorial(size) for size in sizes) - 1
    assert drawn.shape == (min(4, possible), count)
    assert len({tuple(draw) for draw in drawn}) == len(drawn)
    for draw in drawn:
        assert sorted(draw) == list(range(count))
        assert [annotated[partner] for partner in draw] == annotated
    for image, others in enumerate(drawn.T):
        if annotated.count(annotated[image]) > len(drawn):
            assert image not in others
            assert len(set(others)) == len(others)


@pytest.mark.parametrize("small", [2, 3, 5, 19])
def test_a_pool_of_fewer_images_than_draws_puts_its_labels_into_any_order(small):
    count = 60 + small
    annotated, moved = [1] * 60 + [2] * small, np.arange(60, count)
    drawn = np.concatenate([partners(list(range(count)), annotated, draws=20, seed=seed) for seed in range(100)])
    assert (drawn[:, :60] != np.arange(60)).all()
    shares = [(drawn[:, 60] == partner).mean() for partner in moved]
    assert np.allclose(shares, 1 / small, atol=4 * np.sqrt(1 / small / len(drawn)))
    assert sum(shares) == pytest.approx(1)
    unchanged = (drawn[:, 60:] == moved).all(1).mean()
    assert unchanged == pytest.approx(1 / math.factorial(small) if small < 4 else 0, abs=0.04)


def test_an_image_without_its_like_keeps_its_labels():
    drawn = partners(list(range(41)), [1] * 40 + [2], draws=20)
    assert (drawn[:, 40] == 40).all()


def test_partners_do_not_depend_on_the_order_of_the_images():
    hashes, order = [50, 20, 90, 10, 70], [3, 0, 4, 1, 2]
    straight = partners(hashes, [0] * 5, draws=4, seed=1)
    turned = partners([hashes[place] for place in order], [0] * 5, draws=4, seed=1)
    as_hashes = [[hashes[partner] for partner in draw] for draw in straight]
    for draw, other in zip(as_hashes, turned, strict=True):
        assert [draw[place] for place in order] == [hashes[order[partner]] for partner in other]


@st.composite
def grouped(draw, most=60):
    """Hashes, groups and an order in time of some images."""
    count = draw(st.integers(2, most))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    groups = rng.integers(0, draw(st.integers(2, count)), count)
    return rng.permutation(10**6)[:count].tolist(), groups


@settings(max_examples=40)
@given(drawn=grouped(), kinds=st.integers(1, 3), strata=st.integers(1, 3), seed=st.integers(0, 9))
def test_no_image_gets_labels_of_its_own_group(drawn, kinds, strata, seed):
    hashes, groups = drawn
    rng = np.random.default_rng(seed)
    annotated, strata = rng.integers(1, kinds + 1, len(hashes)).tolist(), rng.integers(0, strata, len(hashes))
    found = partners(hashes, annotated, draws=4, seed=seed, groups=groups, strata=strata)
    assert len({tuple(draw) for draw in found}) == len(found)
    for draw in found:
        assert sorted(draw) == list(range(len(hashes)))
        exchanged = np.flatnonzero(draw != np.arange(len(hashes)))
        assert len(exchanged)
        assert (groups[draw[exchanged]] != groups[exchanged]).all()
        assert (strata[draw] == strata).all()
        assert [annotated[partner] for partner in draw] == annotated


@settings(max_examples=40)
@given(drawn=grouped(), seed=st.integers(0, 9))
def test_partners_of_groups_do_not_depend_on_the_order_of_the_images(drawn, seed):
    hashes, groups = drawn
    turned = np.random.default_rng(seed).permutation(len(hashes))
    straight = partners(hashes, [1] * len(hashes), draws=4, seed=seed, groups=groups)
    other = partners([hashes[image] for image in turned], [1] * len(hashes), draws=4, seed=seed, groups=groups[turned])
    assert straight.shape == other.shape
    for draw, again in zip(straight, other, strict=True):
        assert [draw[image] for image in turned] == [turned[partner] for partner in again]


def test_labels_of_groups_of_one_size_move_as_wholes():
    groups = np.repeat(np.arange(30), [1] * 10 + [2] * 10 + [5] * 10)
    hashes = np.random.default_rng(0).permutation(len(groups)).tolist()
    for draw in partners(hashes, [1] * len(groups), draws=20, groups=groups):
        for group in range(30):
            assert len(set(groups[draw[groups == group]])) == 1
            assert (groups[draw[groups == group]] // 10 == group // 10).all()


def test_images_take_no_part_where_one_group_holds_most():
    groups, strata = np.array([0] * 6 + list(range(1, 6)) + list(range(6, 26))), np.array([0] * 11 + [1] * 20)
    found = partners(list(range(31)), [1] * 31, draws=8, groups=groups, strata=strata)
    assert (found[:, :11] == np.arange(11)).all()
    assert (found[:, 11:] != np.arange(11, 31)).all()
    assert partners(list(range(11)), [1] * 11, draws=8, groups=groups[:11]).shape == (0, 11)


@pytest.mark.parametrize(("count", "draws"), [(1, 0), (2, 1), (3, 2), (4, 9), (5, 20)])
def test_few_groups_allow_few_draws(count, draws):
    groups = np.repeat(np.arange(count), 3)
    assert len(partners(list(range(3 * count)), [1] * 3 * count, draws=20, groups=groups)) == draws


@settings(max_examples=40)
@given(count=st.integers(2, 60), size=st.integers(1, 8), seed=st.integers(0, 9))
def test_in_time_order_labels_move_by_at_least_the_size_of_a_group(count, size, seed):
    rng = np.random.default_rng(seed)
    time = rng.permutation(count)
    hashes = rng.permutation(10**6)[:count].tolist()
    found = partners(hashes, [1] * count, draws=5, seed=seed, groups=time // size, order=time)
    apart = min(size, count)
    assert len(found) == max(0, min(5, count - 2 * apart + 1))
    for draw in found:
        moved = (time[draw] - time) % count
        assert (moved == moved[0]).all()
        assert apart <= moved[0] <= count - apart


def test_no_images_have_no_draws():
    assert len(choose_partners([], [], draws=3, seed=0)) == 0
