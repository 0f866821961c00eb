"""`unitlens demo`."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from unitlens.cli.demo import CLASSES, classes_in_both_halves, most_detected


def measured(even, odd, names=("forest", "bedroom", "kitchen", "ski_slope")):
    images = {"even": np.array(even), "odd": np.array(odd)}
    return SimpleNamespace(
        outputs=SimpleNamespace(names=names), counted=lambda folds: SimpleNamespace(images=images[folds])
    )


def test_classes_without_images_in_one_half_are_replaced():
    assert set(classes_in_both_halves(measured([3, 2, 1, 1], [2, 2, 2, 2]))) == set(CLASSES)
    assert classes_in_both_halves(measured([3, 2, 1, 0], [2, 2, 2, 2])) == ["bedroom", "forest"]
    assert classes_in_both_halves(measured([0, 2, 0, 1], [2, 0, 2, 2])) == ["ski_slope"]


@pytest.mark.slow
def test_the_fewest_images_are_enough(shell, tmp_path):
    said = shell("demo", "--images", 32, "--out", "few")
    assert said.code == 0, said.err
    assert (tmp_path / "few" / "report.html").is_file()
    assert said.out.count("20 most important units ablated") == 2


def test_the_concept_of_most_detectors_is_removed_and_else_that_of_the_best_unit():
    table = pd.DataFrame({"concept": ["sky", "tree", "tree"], "iou": [0.3, 0.2, 0.1]})
    assert most_detected(SimpleNamespace(table=lambda: table, detectors=lambda: table)) == "tree"
    assert most_detected(SimpleNamespace(table=lambda: table, detectors=lambda: table[:0])) == "sky"


@pytest.mark.slow
def test_the_generator_is_dissected_and_one_of_its_concepts_removed_and_inserted(shell, tmp_path):
    said = shell("demo", "--generator", "--images", 96, "--out", "drawn")
    assert said.code == 0, said.err
    assert (tmp_path / "drawn" / "report.html").is_file()
    assert (tmp_path / "drawn" / "interventions.csv").is_file()
    assert "20 units of block16 set to 0" in said.out
    assert "20 units of block16 set to their thresholds" in said.out
