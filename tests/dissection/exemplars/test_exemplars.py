import io
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

import unitlens as ul
from unitlens.dissection.exemplars import strongest
from unitlens.dissection.exemplars.pictured import pictured_units, worth_a_look
from unitlens.dissection.exemplars.strongest import LOOKED_AT, Variety
from unitlens.dissection.store.rows import RowFile, append
from unitlens.drawing import strips
from unitlens.errors import UnitlensError


@given(
    groups=st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=40),
    count=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_exemplars_are_the_first_of_each_group_and_others_fill_up(groups, count, seed):
    count = min(count, len(groups))
    ranked = np.random.default_rng(seed).permutation(len(groups))
    first = [image for place, image in enumerate(ranked) if groups[image] not in {groups[i] for i in ranked[:place]}]
    others = [image for image in ranked if image not in first]
    expected = (first + others)[:count]
    chosen = Variety(groups, None).first(ranked, count)
    assert chosen.tolist() == [image for image in ranked.tolist() if image in expected]


def test_images_beyond_those_that_are_looked_at_are_no_exemplars():
    groups = ["video"] * (2 * LOOKED_AT) + ["other"]
    assert Variety(groups, None).first(np.arange(len(groups)), 2).tolist() == [0, 1]
    assert Variety(groups[1:], None).first(np.arange(len(groups) - 1), 2).tolist() == [0, 2 * LOOKED_AT - 1]


@given(
    peaks=arrays(np.float32, st.tuples(st.integers(1, 30), st.integers(1, 5)), elements=st.sampled_from([-1, 0, 1, 2])),
    most=st.integers(1, 8),
    at_once=st.integers(1, 40),
)
def test_the_highest_peaks_are_the_first_of_all_in_order(tmp_path_factory, peaks, most, at_once):
    rows = RowFile(tmp_path_factory.mktemp("peaks") / "peaks", peaks.shape[1:], np.float32)
    append(rows, peaks)
    layer = SimpleNamespace(peaks=rows, units=peaks.shape[1])
    with closing(rows), pytest.MonkeyPatch.context() as patch:
        patch.setattr(strongest, "_PEAKS_AT_ONCE", at_once)
        found = [images.tolist() for images in strongest.highest_peaks(layer, most)]
    assert found == np.argsort(-peaks, axis=0, kind="stable").T[:, :most].tolist()


class Twice:
    """Drawn scenes, each followed by itself, a little brighter."""

    def __init__(self, count):
        self.scenes = ul.Scenes(count)
        self.concepts = self.scenes.concepts

    def __len__(self):
        return 2 * len(self.scenes)

    def __getitem__(self, index):
        example = self.scenes[index // 2]
        image = np.clip(example.image * 1.05 + 3 * (index % 2), 0, 255).astype(np.uint8)
        return example._replace(image=image, name=f"{index:03}.png")


def dissected(**options):
    return ul.dissect(ul.load("bundled:scenes"), "relu6", Twice(24), evidence=False, exemplars=4, **options)


@pytest.fixture(scope="module")
def twice():
    return dissected(exemplar_size=64)


def test_of_near_copies_one_is_shown(twice):
    for unit in range(len(twice.counts.active)):
        top = twice.top_images(unit)
        assert len({int(one.image[:3]) // 2 for one in top}) == 4
        assert [one.value for one in top] == sorted((one.value for one in top), reverse=True)


def test_of_named_groups_one_image_is_shown():
    thirds = {f"{index:03}.png": str(index % 3) for index in range(48)}
    d = dissected(groups=thirds)
    for unit in range(0, len(d.counts.active), 8):
        assert {thirds[one.image] for one in d.top_images(unit)} == {"0", "1", "2"}


def test_tiles_are_as_large_as_asked(twice):
    assert Image.open(io.BytesIO(twice.strip(0))).size == (4 * 64, 64)
    assert twice.info["settings"]["exemplar_size"] == 64


@pytest.mark.parametrize("size", [0, 100, 2048])
def test_a_size_that_no_tile_can_have_is_refused(size):
    with pytest.raises(UnitlensError, match=rf"exemplar_size={size} .* multiple of 16 up to 1024, such as 224"):
        dissected(exemplar_size=size)


def test_of_more_units_than_a_page_shows_those_worth_a_look_are_drawn(twice, monkeypatch):
    monkeypatch.setattr(strips, "ALL_DRAWN", 100)
    monkeypatch.setattr(strips, "FEW_DRAWN", 5)
    d = dissected()
    table = d.table()
    drawn = [unit for unit in range(len(table)) if d.strip(unit) is not None]
    best = table[table.concept.notna()].sort_values(["detector", "iou"], ascending=False, kind="stable")
    assert sorted(best.unit.head(5)) == drawn
    without = next(unit for unit in range(len(table)) if unit not in drawn)
    assert len(d.top_images(without)) == 4  # they are named, of every unit
    with pytest.raises(UnitlensError, match=rf"redrawn\(dissection, \[{without}\]\) .* exemplar_size=64"):
        d.show(without)
    assert len(pictured_units(table, exemplar_size=64)) == len(table)


def test_units_worth_a_look_are_detectors_then_the_strongest_then_those_without_a_concept():
    units = pd.DataFrame(
        {
            "detector": [False, True, False, True, None, False],
            "iou": [0.9, 0.1, None, 0.2, 0.3, 0.9],
            "concept": ["a", "b", "c", "b", "a", None],
        }
    )
    assert worth_a_look(units).tolist() == [3, 1, 0, 4, 2, 5]
