"""Errors by pairs of classes, beside full passes."""

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.worlds.coloured import blocks
from unitlens.explaining.confusions_result import COLUMNS

IMAGES = 60


class Named:
    """Coloured images; every third is said to be of another class than the one that the network sees in it."""

    concepts = ()
    classes = ("0", "1", "2")

    def __init__(self, seen):
        self.seen = seen

    def __len__(self):
        return IMAGES

    def __getitem__(self, index):
        class_ = (self.seen[index] + (index % 3 == 0)) % 3
        return ul.Example(blocks(200 + index)[0], {}, f"{index:02}.png", str(class_))


def logits(net, image, units=()):
    inputs = net.prepare(torch.from_numpy(image.copy()).permute(2, 0, 1)[None])
    interventions = [ul.Intervention("0", list(units))] if units else []
    with ul.intervening(net, *interventions), torch.no_grad():
        return net.model.eval()(inputs)[0].double().numpy()


@pytest.fixture
def data(net):
    return Named([int(logits(net, blocks(200 + index)[0]).argmax()) for index in range(IMAGES)])


@pytest.fixture
def confused(net, dissection, data):
    return ul.confusions(net, dissection, data, layer="0")


def test_pulls_are_what_full_passes_say(net, data, confused):
    assert (confused.errors, confused.images) == (20, IMAGES)
    assert sum(len(pair.wrong.names) for pair in confused.pairs) == 20
    for pair in confused.pairs:
        for images in (pair.wrong, pair.rightly):
            for row, name in enumerate(images.names):
                image = data[int(name[:2])]
                assert int(image.class_) == pair.class_
                before = logits(net, image.image)
                assert before.argmax() == (pair.predicted if images is pair.wrong else pair.class_)
                for place, units in enumerate(confused.sets):
                    after = logits(net, image.image, units)
                    lead = (before - after)[pair.predicted] - (before - after)[pair.class_]
                    assert images.pull[row, place] == pytest.approx(lead, abs=1e-5)
                    assert images.right[row, place] == (after.argmax() == pair.class_)


def test_images_that_are_shown_are_those_of_the_pair(data, confused):
    for pair in confused.pairs:
        names = pair.wrong.names[: len(pair.shown)]
        assert len(names) == min(8, len(pair.wrong.names))
        for name, shown in zip(names, pair.shown, strict=True):
            assert np.array_equal(data[int(name[:2])].image, shown)


def test_the_planted_concept_pulls_most(confused):
    names = ("red", "green", "blue")
    table = confused.table()
    assert list(table.columns) == list(COLUMNS)
    for pair in confused.pairs:
        of_pair = table[(table["class"] == str(pair.class_)) & (table["predicted"] == str(pair.predicted))]
        assert of_pair.iloc[0]["concept"] == names[pair.predicted]
        assert of_pair.iloc[-1]["concept"] == names[pair.class_]
    few = table[table["images"] < 8]
    assert few["low"].isna().all()


def test_the_page_shows_pairs_and_escapes_names(confused, tmp_path):
    page = ul.report(tmp_path / "out", confused).read_text()
    pair = confused.pairs[0]
    assert f"{pair.class_} taken for {pair.predicted}" in page
    assert (tmp_path / "out" / "confusions.csv").is_file()
    with pytest.raises(ul.UnitlensError, match=r"confusions\.html is there already"):
        ul.report(tmp_path / "out", confused)


def test_without_errors_or_classes_there_is_nothing_to_explain(net, dissection, data):
    data.seen = [seen - (index % 3 == 0) for index, seen in enumerate(data.seen)]
    with pytest.raises(ul.UnitlensError, match="All 60 images are classified rightly"):
        ul.confusions(net, dissection, data, layer="0")
    with pytest.raises(ul.UnitlensError, match="pairs is 0; it is 1 or more"):
        ul.confusions(net, dissection, data, layer="0", pairs=0)
