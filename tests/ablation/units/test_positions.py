"""Units ablated at some positions only, the same in all images or those of each."""

import hashlib
import warnings

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.worlds.small import Net, Noise, classifier
from unitlens.ablation.curves import ablation_curve
from unitlens.ablation.effects import ablate, importance
from unitlens.ablation.interventions import Intervention, intervening
from unitlens.data.reading import chosen_images


class Opaque(Net):
    """A network that cannot be traced, so that every intervention takes a full pass."""

    def forward(self, images):
        return super().forward(images) if images.sum() > -1e9 else images


@pytest.fixture(scope="module")
def net():
    return classifier()


def positions(images, size=8):
    return torch.rand((images, size, size), generator=torch.Generator().manual_seed(1)) > 0.4


def mean_change(net, data, read, units, where, **change):
    """Mean change of the own logit of each class's images, each run through the full network with its own positions."""
    changes = [[], [], []]
    for index in read:
        image = net.prepare(torch.from_numpy(data[index].image.transpose(2, 0, 1)[None].copy()))
        with torch.no_grad():
            before = net.model(image)[0, index % 3]
            with intervening(net, Intervention("first", units, where=where[index], **change)):
                changes[index % 3].append(float(net.model(image)[0, index % 3] - before))
    return [np.mean(of_class) for of_class in changes]


@pytest.mark.parametrize("batch_size", [7, 40])
@pytest.mark.parametrize("limit", [None, 12])
@pytest.mark.parametrize("change", [{}, {"value": 1.5}, {"scale": 0.5}], ids=str)
@pytest.mark.parametrize("traced", [True, False])
def test_positions_of_each_image_give_what_full_passes_give(net, traced, change, limit, batch_size):
    if not traced:
        net = ul.classifier(Opaque().eval(), image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3, classes=["a", "b", "c"])
    data, where = Noise(40, classless=(2, 3, 20)), positions(40)  # images that are not measured keep their positions
    read = [index for index in chosen_images(data, limit) if index not in data.classless]
    options = {"where": where, "measures": ["logit"], "limit": limit, "batch_size": batch_size, **change}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ul.UnitlensWarning)
        alone = importance(net, "first", data, **options)
        together = ablate(net, "first", [1, 4], data, draws=2, **options)
    assert alone.info["replay"]["replays"] == together.info["replay"]["replays"] == traced
    assert alone.effect("logit")[4] == pytest.approx(mean_change(net, data, read, [4], where, **change), abs=1e-6)
    assert together.effect("logit") == pytest.approx(mean_change(net, data, read, [1, 4], where, **change), abs=1e-6)


def test_a_curve_and_several_layers_take_positions_of_each_image(net):
    data, where = Noise(40), positions(40)
    curve = ablation_curve(net, "first", "a", data, top=2, draws=1, where=where, batch_size=9)
    (unit,) = curve.ranking.most_important("a", 1)
    alone = importance(net, "first", data, where=where).effect("logit", folds=curve.measured.settings.folds)
    assert curve.chosen("most", 1).effect("logit") == pytest.approx(alone[unit])
    both = ablate(net, {"first": [1], "second": [2]}, data=data, where=where, measures=["logit"], draws=1, batch_size=9)
    none = ablate(net, {"first": [1], "second": [2]}, data=data, where=torch.zeros_like(where), draws=1)
    assert (both.effect("logit") != 0).any()
    assert (none.effect("logit") == 0).all()


def test_resampling_at_positions_of_each_image_does_not_depend_on_batches(net):
    one, other = (
        importance(net, "second", Noise(30), value="resample", where=positions(30), measures=["logit"], batch_size=size)
        for size in (4, 30)
    )
    assert one.effect("logit") == pytest.approx(other.effect("logit"), abs=1e-6)
    assert (one.effect("logit") != 0).any()


def test_positions_are_recorded_by_their_hash_and_equal_ones_have_equal_effects(net):
    data, where = Noise(12), torch.eye(8, dtype=torch.bool)
    all_images, each_image = (
        importance(net, "second", data, where=some, measures=["logit"]) for some in (where, where.expand(12, 8, 8))
    )
    assert np.array_equal(all_images.effect("logit"), each_image.effect("logit"))
    assert all_images.settings.where_sha256 == hashlib.sha256(b"(8, 8)\n" + where.numpy().tobytes()).hexdigest()
    assert each_image.settings.where_sha256 != all_images.settings.where_sha256
    assert importance(net, "second", data, measures=["logit"]).settings.where_sha256 is None


@pytest.mark.parametrize("shape", [(39, 8, 8), (40, 7, 8), (7, 8), (8,)])
def test_positions_of_another_shape_are_refused_with_those_that_fit(net, shape):
    with pytest.raises(ul.UnitlensError, match=r"8 x 8 .*40 x 8 x 8") as refused:
        importance(net, "first", Noise(), where=torch.ones(shape, dtype=torch.bool))
    assert " x ".join(map(str, shape)) in str(refused.value)


def test_positions_in_a_layer_without_a_grid_are_refused(net):
    with pytest.raises(ul.UnitlensError, match="40, but head has no grid"):
        ablate(net, "head", [1], Noise(), where=torch.ones(40, dtype=torch.bool))
