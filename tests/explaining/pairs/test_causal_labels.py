"""Minimal pairs: a planted network answers to what it is labelled as, and a wrong label is found."""

from typing import NamedTuple

import numpy as np
import pytest

import unitlens as ul
from tests.worlds.planted import COLOURS, ColourWorld, colour_net
from unitlens.errors import UnitlensError
from unitlens.explaining.labelled_units import GOOD
from unitlens.explaining.pairs.causal_labels_result import COLUMNS, describe_shares
from unitlens.explaining.pairs.minimal_pairs import usual_pairs


class Pair(NamedTuple):
    concept: ul.Concept
    without: int
    with_it: int


class SquarePairs:
    """Squares of four colours on grey; pair k of 4 * n lacks one of them."""

    def __init__(self, pairs=16, *, called=tuple(COLOURS)):
        self.images, self.called = pairs * 4, called
        self.concepts = ColourWorld.concepts[:4]
        by_name = {concept.name: concept for concept in self.concepts}
        self.pairs = [Pair(by_name[called[k % 4]], 2 * k + 1, 2 * k) for k in range(self.images)]

    def __len__(self):
        return 2 * self.images

    def __getitem__(self, index):
        pair, without = divmod(index, 2)
        rng = np.random.default_rng([9, pair])
        image, labels = np.full((32, 32, 3), 128, np.uint8), np.zeros((32, 32), np.int64)
        for number, (name, colour) in enumerate(COLOURS.items()):
            y, x = rng.integers(0, 12, 2) + 16 * np.array(divmod(number, 2)) - 4 * np.array(divmod(number, 2))
            if not (without and number == pair % 4):
                image[y : y + 8, x : x + 8] = colour
                labels[y : y + 8, x : x + 8] = list(COLOURS).index(self.called[number]) + 1
            assert name
        return ul.Example(image, {"color": [labels]}, f"{pair}/{'all' if not without else 'without'}", group=str(pair))


@pytest.fixture(scope="module")
def dissected():
    net = colour_net()
    return net, ul.dissect(net, "pool", ColourWorld(64), quantile=0.05, exemplars=0)


@pytest.fixture(scope="module")
def labels(dissected):
    return ul.causal_labels(*dissected, SquarePairs())


def test_planted_units_pass(labels):
    table = labels.table().set_index("unit")
    assert list(labels.table().columns) == list(COLUMNS)
    for unit, name in enumerate(COLOURS):
        row = table.loc[unit]
        assert (row["concept"], row["causal_verdict"]) == (name, "passes")
        assert row["area_low"] > 0
        assert row["selectivity"] > 0.9
        assert row["pairs"] == 16


def test_a_wrong_label_answers_to_something_else(dissected):
    # what is called red is green, and the reverse: a detector of red does not answer to what is now called so
    swapped = ("green", "red", "blue", "yellow")
    table = ul.causal_labels(*dissected, SquarePairs(called=swapped)).table().set_index("unit")
    assert table.loc[0, ["causal_verdict", "other"]].tolist() == ["answers to something else", "green"]
    assert table.loc[2, "causal_verdict"] == "passes"


def test_changes_are_those_of_the_definition(dissected, labels):
    net, dissection = dissected
    data, thresholds = SquarePairs(), dissection.table()["threshold"].to_numpy()
    unit, concept = 1, "green"
    changes = []
    for pair in data.pairs:
        if pair.concept.name == concept:
            before, after = (_maps(net, data[index].image)[unit] for index in (pair.without, pair.with_it))
            areas = [float((maps > thresholds[unit]).float().mean()) for maps in (before, after)]
            changes.append([float(after.max() - before.max()), areas[1] - areas[0]])
    row = labels.table().set_index("unit").loc[unit]
    assert [row["peak_change"], row["area_change"]] == pytest.approx(np.mean(changes, axis=0), abs=1e-6)


def _maps(net, image):
    import torch

    with ul.evaluating(net.model), ul.record(net.model, ["pool"]) as recorded:
        net.model(net.prepare(torch.from_numpy(image.copy()).permute(2, 0, 1)[None]))
    return recorded["pool"][0]


def test_shares_count_every_label_once(labels):
    shares = labels.shares()
    assert shares["labels"].sum() == len(labels.table())
    counted = shares[["passes", "answers_to_something_else", "does_not_answer", "untested"]].sum(axis=1)
    assert (counted == shares["labels"]).all()
    detectors = shares[shares["verdict"] == GOOD].iloc[0]
    assert detectors["low"] <= detectors["share"] <= detectors["high"]
    assert describe_shares(labels.table()).startswith(f"{detectors['passes']} of ")
    assert "red" in str(labels.answers().index.tolist())


def test_few_pairs_have_no_interval(dissected):
    with pytest.warns(ul.UnitlensWarning, match="no intervals"):
        table = ul.causal_labels(*dissected, SquarePairs(2)).table()
    assert table["area_low"].isna().all()
    assert not (table["causal_verdict"] == "passes").any()


def test_labels_are_saved_into_their_run_alone(dissected, labels, tmp_path):
    page = ul.report(tmp_path / "run", dissected[1], labels)
    assert "Minimal pairs" in page.read_text()
    again = ul.report(tmp_path / "run")  # made from what is saved
    assert describe_shares(labels.table()) in again.read_text()
    with pytest.raises(UnitlensError, match="already"):
        ul.report(tmp_path / "run", labels)
    with pytest.raises(UnitlensError, match="holds no run"):
        ul.report(tmp_path / "other", labels)
    saved = tmp_path / "run" / "causal_labels.csv"
    saved.write_text(saved.read_text().replace("passes", "passed"))
    with pytest.raises(UnitlensError, match=r"causal_labels\.csv is damaged.*'passed'"):
        ul.report(tmp_path / "run")


def test_another_dissection_takes_the_place_of_labels_too(dissected, labels, tmp_path):
    ul.report(tmp_path / "run", dissected[1], labels)
    ul.report(tmp_path / "run", dissected[1], overwrite=True)
    assert not (tmp_path / "run" / "causal_labels.csv").exists()


class _Things(SquarePairs):
    concepts = (ul.Concept("thing", 1, "thing"),)

    def __init__(self, pairs):
        self.images, self.pairs = pairs, [Pair(self.concepts[0], 1, 0)]


def test_bad_input(dissected):
    net, dissection = dissected
    with pytest.raises(UnitlensError, match="no data set of pairs"):
        ul.causal_labels(net, dissection, ColourWorld(4))
    with pytest.raises(UnitlensError, match="None of the concepts"):
        ul.causal_labels(net, dissection, _Things(2))
    with pytest.raises(UnitlensError, match="other weights"):
        ul.causal_labels(colour_net(3), dissection, SquarePairs(2))
    with pytest.raises(UnitlensError, match=r"0\.95 and 0\.99"):
        ul.causal_labels(net, dissection, SquarePairs(8), interval=0.9)


def test_pairs_go_with_the_drawn_world_alone(dissected):
    assert usual_pairs(dissected[1]) == 0
