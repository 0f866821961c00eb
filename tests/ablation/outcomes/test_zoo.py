"""Outcomes of torchvision's segmentation and detection networks with random weights: as by full passes."""

import numpy as np
import pytest

import unitlens as ul
from tests.ablation.outcomes.networks import Marked, by_full_passes
from tests.models import zoo

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::unitlens.UnitlensWarning")]

SEGMENTERS = {
    "lraspp_mobilenet_v3_large": "backbone.16",
    "deeplabv3_mobilenet_v3_large": "backbone.16",
    "fcn_resnet50": "classifier.2",
}
DETECTORS = {
    "ssdlite320_mobilenet_v3_large": "backbone.features.1.2",
    "fasterrcnn_mobilenet_v3_large_320_fpn": "backbone.fpn.inner_blocks.0",
    "retinanet_resnet50_fpn": "backbone.body.layer1",
}


def opened(name):
    network = zoo.build(name)
    if "rcnn" in name:
        network.model.roi_heads.score_thresh = 0.0  # untrained, it is sure of nothing
    return ul.classifier(network.model, image_size=64, mean=(0.5,) * 3, std=(0.2,) * 3)


class Passes:
    """What full passes return for every image, untouched and with units at 0."""

    def __init__(self, net, data, units, layer):
        self.before, self.after = (
            [output for _, output in by_full_passes(net, data, some, layer=layer)] for some in ((), units)
        )

    def check(self, effects, outcome, number, **allowed):
        """Compare with an outcome's means; return whether it changed."""
        estimate = effects.estimate(outcome)
        for one, outputs in ((estimate.before, self.before), (estimate.after, self.after)):
            assert one == pytest.approx(np.mean([float(number(output)) for output in outputs]), **allowed)
        return bool(estimate.effect != 0)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_segmenters_replay(name):
    net, data, layer, units = opened(name), Marked(2, size=64), SEGMENTERS[name], [0, 5, 7]

    def loudest(outputs):
        return outputs["out"].amax((1, 2, 3))

    areas = [f"area:{number}" for number in range(21)]
    effects = ul.outcome_effects(net, layer, data, [*areas, loudest], units=units, draws=1)
    assert effects.info["replay"]["replays"], effects.info["replay"]["reason"]
    passes = Passes(net, data, units, layer)
    assert passes.check(effects, "loudest", lambda output: output["out"].max(), rel=1e-4)
    # where two classes are about as likely, rounding decides: 4 of the 8,192 positions
    changed = [
        passes.check(effects, area, lambda o, k=k: (o["out"].argmax(1) == k).double().mean(), abs=5e-4)
        for k, area in enumerate(areas)
    ]
    assert any(changed)


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_take_full_passes(name):
    net, data, layer, units = opened(name), Marked(2, size=64), DETECTORS[name], [0, 5, 7]
    passes = Passes(net, data, units, layer)
    label = int(passes.before[0][0]["labels"][0])
    outcomes = [f"best_box:{label}", "boxes@0.01", f"boxes@0.01:{label}"]

    def summed(outputs):
        return [one["scores"].sum() for one in outputs]

    effects = ul.outcome_effects(net, layer, data, [*outcomes, summed], units=units, draws=1, batch_size=1)
    assert "a list with an item for each image" in effects.info["replay"]["reason"]

    def scores(output, label=None):
        return [float(s) for s, k in zip(output[0]["scores"], output[0]["labels"], strict=True) if label in (None, k)]

    changed = [
        passes.check(effects, outcomes[0], lambda o: max(scores(o, label), default=0.0), abs=1e-5),
        passes.check(effects, outcomes[1], lambda o: sum(score > 0.01 for score in scores(o))),
        passes.check(effects, outcomes[2], lambda o: sum(score > 0.01 for score in scores(o, label))),
        passes.check(effects, "summed", lambda o: sum(scores(o)), rel=1e-4),
    ]
    assert any(changed)
