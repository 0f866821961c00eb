"""`unitlens demo`."""

from types import SimpleNamespace

import numpy as np
import pytest

from unitlens.cli.demo import CLASSES, classes_in_both_halves


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


@pytest.mark.slow
def test_the_generator_is_dissected_and_one_of_its_concepts_removed_and_inserted(shell, tmp_path):
    said = shell("demo", "--generator", "--images", 96, "--out", "drawn")
    assert said.code == 0, said.err
    assert (tmp_path / "drawn" / "report.html").is_file()
    assert (tmp_path / "drawn" / "interventions.csv").is_file()
    assert "the 20 units of highest IoU with tree, removed and inserted" in said.out
    assert "20 units of block16 set to 0" in said.out
    assert "20 units of block16 set to their thresholds" in said.out
    again = shell("intervene", "drawn", "--concept", "snow", "--remove", 2, "--draws", 0, "--out", "snow")
    assert again.code == 0, again.err
    assert (tmp_path / "snow" / "interventions.csv").is_file()
