from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

import unitlens as ul
from tests.cli.test_ablate import CLASSES, name_classes
from tests.worlds.coloured import write_world
from unitlens.ablation.uses import class_concepts, classes_served


@pytest.fixture(scope="module")
def both(net_file, tmp_path_factory):
    world = name_classes(write_world(tmp_path_factory.mktemp("used") / "world", images=24))
    net = ul.load(f"{net_file}:build", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    data = ul.annotated(world)
    return ul.dissect(net, "0", data, quantile=0.1, evidence=False), ul.importance(net, "0", data)


def test_a_class_rests_on_the_concept_of_its_name(both):
    matrix = class_concepts(*both)
    assert set(matrix.index) == set(CLASSES)
    assert all(matrix.loc[name].idxmin() == name for name in CLASSES)
    assert (np.diag(matrix.loc[list(CLASSES), list(CLASSES)]) < 0).all()


def test_classes_served_are_counted_and_correlated(both):
    found = classes_served(*both, top=1)
    assert found.classes.tolist() == [1, 1, 1, 0]
    assert found.correlation == pytest.approx(spearmanr(found.iou, found.classes).statistic)
    assert found.low < found.correlation < found.high


def test_the_units_counted_are_those_that_are_ranked_first(both):
    d, e = both
    ranked = [unit for name in e.classes for unit in e.most_important(name, 2, folds="odd")]
    assert classes_served(d, e, top=2, folds="odd").classes.tolist() == np.bincount(ranked, minlength=4).tolist()


def test_results_that_do_not_belong_together_are_refused(both, dissection):
    d, e = both
    with pytest.raises(ul.UnitlensError, match="The effects are of 0, and the dissection of 4"):
        class_concepts(dissection["4"], e)
    other = ul.UnitEffects(replace(e.measured, info=e.info | {"network": {"sha256": "0"}}))
    with pytest.raises(ul.UnitlensError, match="are of different networks"):
        classes_served(d, other)
    with pytest.raises(ul.UnitlensError, match="The effect of each unit alone is needed"):
        classes_served(d, ul.SetEffects(e.measured.only([0])))
