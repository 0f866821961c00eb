import copy

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import unitlens as ul
from tests.worlds.planted import ColourWorld, InMemory, colour_net, lookup
from unitlens.data.reading import chosen_images
from unitlens.data.scenes.world import Scenes
from unitlens.dissection.controls import calibrate, heldout_by_concept, rotation, untrained_copy
from unitlens.dissection.settings import Settings
from unitlens.dissection.table import UntrainedLayer, add_untrained
from unitlens.stats.evidence import halves_iou
from unitlens.stats.folds import FoldTable


class Mixed(nn.Module):
    """Modules that reset themselves, a parameter that nothing resets, and a batch norm."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.scale = nn.Parameter(torch.arange(6.0))
        self.norm.running_mean.fill_(7)
        self.norm.running_var.fill_(9)

    def forward(self, images):
        return self.norm(self.conv(images)) * self.scale[:, None, None]


def network(model):
    return ul.classifier(model, image_size=32, mean=(0, 0, 0), std=(1, 1, 1))


def small(control, **options):
    return ul.dissect(
        colour_net(), "pool", ColourWorld(64), quantile=0.05, grid=8, exemplars=0, control=control, **options
    )


def test_the_untrained_copy_is_fresh_and_repeatable_and_leaves_the_network():
    net = network(Mixed())
    before = copy.deepcopy(net.model.state_dict())
    state = torch.random.get_rng_state()
    (first, notes), (again, _), (other, _) = (untrained_copy(net, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.model.state_dict().items())
    weights = [untrained.model.conv.weight for untrained in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], net.model.conv.weight)
    assert not torch.equal(first.model.scale, net.model.scale)
    assert sorted(first.model.scale.tolist()) == net.model.scale.tolist()
    assert notes == ["In the untrained copy, what no module resets was shuffled within itself: 1 parameter (scale)."]


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    ("norm", "hidden"),
    [(nn.utils.spectral_norm, {"0.weight_orig"}), (nn.utils.weight_norm, {"0.weight_g", "0.weight_v"})],
)
def test_what_a_norm_hides_from_the_reset_is_shuffled(norm, hidden):
    net = network(nn.Sequential(norm(nn.Conv2d(3, 4, 3))))
    with torch.inference_mode():
        net.model(torch.zeros(1, 3, 32, 32))
    untrained, notes = untrained_copy(net)
    before, after = dict(net.model.named_parameters()), dict(untrained.model.named_parameters())
    assert not any(torch.equal(before[name], after[name]) for name in before)
    for name in hidden:
        assert torch.equal(before[name].flatten().sort().values, after[name].flatten().sort().values)
    assert all(name in notes[0] for name in hidden)


def test_batch_norm_is_calibrated_on_the_images():
    data = ColourWorld(33)  # the last batch of 16 would be one image
    untrained, _ = untrained_copy(network(Mixed()))
    calibrate(untrained, data, Settings(layers=("norm",), grid=(8, 8)))
    images = torch.stack([torch.as_tensor(data[n].image).permute(2, 0, 1) for n in range(32)])
    with torch.no_grad():
        said = untrained.model.conv(untrained.prepare(images))
    torch.testing.assert_close(untrained.model.norm.running_mean, said.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    halves = torch.stack([half.var((0, 2, 3)) for half in said.split(16)]).mean(0)
    torch.testing.assert_close(untrained.model.norm.running_var, halves, rtol=1e-4, atol=1e-5)
    assert untrained.model.norm.momentum == 0.1
    assert not untrained.model.norm.training or untrained.model.training


def test_batch_norm_is_calibrated_on_images_spread_over_all(monkeypatch):
    monkeypatch.setattr("unitlens.dissection.controls.CALIBRATION_IMAGES", 32)
    read = []

    class Noted(ColourWorld):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    calibrate(network(Mixed()), Noted(70), Settings(layers=("norm",), grid=(8, 8), limit=64))
    assert read == chosen_images(range(70), 64)[::2]


def test_an_untrained_copy_that_equals_the_network_is_an_error():
    nothing = lookup(np.zeros((40, 2, 2, 2)))
    with pytest.raises(ul.UnitlensError, match="equals the network itself, which has no parameters"):
        untrained_copy(nothing)
    net = network(nn.Sequential(nn.Conv2d(3, 2, 1)))
    same = ul.classifier(untrained_copy(net, seed=3)[0].model, image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    with pytest.raises(ul.UnitlensError, match="choose another seed="):
        untrained_copy(same, seed=3)


def test_a_rotation_keeps_lengths_and_mixes_units():
    turn = rotation(40, seed=1)
    torch.testing.assert_close(turn @ turn.T, torch.eye(40), atol=1e-5, rtol=0)
    assert torch.equal(turn, rotation(40, seed=1))
    assert not torch.equal(turn, rotation(40, seed=2))
    assert turn.abs().max() < 0.9


def test_controls_stand_beside_the_network_and_change_nothing_of_it():
    alone, both = small(()), small(("untrained", "rotated"))
    same = [name for name in alone.table() if not name.startswith("untrained") and name not in ("verdict", "detector")]
    pd.testing.assert_frame_equal(alone.table()[same], both.table()[same])
    table = both.controls()
    assert table["control"].value_counts().to_dict() == {"none": 8, "untrained": 8, "rotated": 8}
    own = table[table["control"] == "none"].drop(columns="control").reset_index(drop=True)
    pd.testing.assert_frame_equal(own, both.table(), check_dtype=False)
    assert both.comparison()["network"].tolist() == ["as it is", "untrained", "rotated", "labels of other images"]
    assert both.comparison()["above_min_iou"][0] == table[table["control"] == "none"]["above_min_iou"].sum()
    for name in ("untrained_percentile", "untrained_percentile_all"):
        assert both.table()[name].between(0, 1).all()
        assert alone.table()[name].isna().all()
    with pytest.raises(ul.UnitlensError, match="made without a control"):
        alone.controls()


def test_several_untrained_copies_are_told_apart_by_their_seeds(tmp_path):
    d = small(("untrained:3", "rotated"), seed=4)
    names = [f"untrained seed {seed}" for seed in (4, 5, 6)]
    assert d.controls()["control"].value_counts().to_dict() == dict.fromkeys(["none", *names, "rotated"], 8)
    assert d.comparison()["network"].tolist() == ["as it is", *names, "rotated", "labels of other images"]
    copies = d.controls().set_index("control")
    assert not np.array_equal(copies.loc[names[0], "iou"], copies.loc[names[1], "iou"])
    alone = small("untrained", seed=4)
    same = [name for name in alone.table() if not name.startswith("untrained") and name != "concept_set"]
    known = alone.controls().set_index("control").loc["untrained"][same].reset_index(drop=True)
    pd.testing.assert_frame_equal(copies.loc[names[0]][same].reset_index(drop=True), known)
    assert set(d.table()["untrained_share"].dropna() * 3) <= {0, 1, 2, 3}
    d.save(tmp_path / "run")
    assert ul.open_run(tmp_path / "run").settings.control == ("untrained:3", "rotated")
    assert ul.plan(colour_net(), "pool", ColourWorld(64), grid=8, control="untrained:3").passes == 4


@pytest.mark.parametrize("control", ["untrained:0", "untrained:x", "untrained:", "rotated:2", "untrained:9999"])
def test_a_number_of_copies_that_is_not_possible_is_an_error(control):
    with pytest.raises(ul.UnitlensError, match="untrained:8 stands for 8"):
        small(control)
    with pytest.raises(ul.UnitlensError, match="names a control twice"):
        small(("untrained", "untrained:2"))


@pytest.mark.parametrize(
    ("rule", "column", "least"), [("plain", "iou", 0.72), ("heldout", "heldout_iou", 0.745), ("lower", "iou_low", 0.68)]
)
def test_a_detector_passes_the_rule_and_what_does_not_is_weak(rule, column, least):
    table = small((), detector_rule=rule, min_iou=least).table()
    passes = table[column] > least
    kept = table["verdict"].isin(["detector", "weak"])
    assert (table["detector"][kept] == (passes & table["above_min_iou"])[kept]).all()
    assert 0 < table["detector"].sum() < kept.sum()


def test_a_rule_needs_the_evidence_and_without_it_is_plain():
    with pytest.raises(ul.UnitlensError, match="needs the evidence"):
        small((), detector_rule="lower", evidence=False)
    table = small((), evidence=False).table()
    assert (table["detector"] == table["above_min_iou"]).all()


def test_untrained_means_that_the_best_unit_of_the_untrained_copy_does_as_well():
    verdicts = ["detector", "detector", "weak", "detector"]
    table = pd.DataFrame(
        {
            "concept": ["a", "b", "a", None],
            "heldout_iou": [0.3, 0.3, 0.1, np.nan],
            "verdict": verdicts,
            "detector": [verdict == "detector" for verdict in verdicts],
        }
    )
    copy = UntrainedLayer(by_concept=np.array([[0.1, 0.3], [0.2, 0.0]]), best=np.array([0.25, 0.4]))
    concept = np.array([0, 1, 0, 0])
    found = add_untrained(table, concept, [copy])
    assert found["verdict"].tolist() == ["detector", "untrained", "weak", "detector"]
    assert found["detector"].tolist() == [True, False, False, True]
    assert found["untrained_percentile"][:3].tolist() == [1.0, 0.5, 0.0]
    assert found["untrained_percentile_all"][:3].tolist() == [0.5, 0.5, 0.0]
    assert np.isnan(found["untrained_percentile"][3])
    assert found["untrained_share"][:3].tolist() == [0, 1, 1]
    better = UntrainedLayer(by_concept=np.array([[0.0, 0.0], [0.3, 0.0]]), best=np.array([0.0, 0.3]))
    found = add_untrained(table, concept, [copy, copy, better])
    assert found["untrained_share"][:3].tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    assert found["verdict"].tolist() == ["detector", "untrained", "weak", "detector"]
    found = add_untrained(table, concept, [copy, better])  # one half is enough
    assert found["verdict"].tolist() == ["untrained", "untrained", "weak", "detector"]
    assert found["untrained_percentile"][:2].tolist() == [0.75, 0.75]


def test_the_untrained_copys_iou_is_that_of_both_halves():
    counts = small(()).counts
    found = heldout_by_concept(counts)
    intersection = counts.intersection_by_fold(slice(0, 8))
    activated = counts.activated_by_fold[:, :, counts.category_of]
    judged = counts.judged_by_fold[:, counts.category_of]
    table = FoldTable(intersection, activated, counts.concept_by_fold, judged, np.arange(32))
    np.testing.assert_allclose(found, halves_iou(table))
    even = np.arange(32) % 2 == 0
    i, a, g = intersection[0, even, 0].sum(), activated[0, even, 0].sum(), counts.concept_by_fold[even, 0].sum()
    j, b, h = intersection[0, ~even, 0].sum(), activated[0, ~even, 0].sum(), counts.concept_by_fold[~even, 0].sum()
    assert found[0, 0] == pytest.approx((i / (a + g - i) + j / (b + h - j)) / 2)


def test_a_run_with_controls_comes_back_from_its_files(tmp_path):
    made = small("rotated")
    made.save(tmp_path / "run")
    opened = ul.open_run(tmp_path / "run")
    read, known = opened.controls(), made.controls()
    assert read["concept_set"].dropna().tolist() == known["concept_set"].dropna().tolist()
    pd.testing.assert_frame_equal(
        read.drop(columns="concept_set"), known.drop(columns="concept_set"), check_dtype=False
    )
    assert opened.comparison().equals(made.comparison())
    small(()).save(tmp_path / "run", overwrite=True)
    assert not (tmp_path / "run" / "controls.csv").exists()


@pytest.mark.parametrize("score", ["recall", "lift", "auprc"])
def test_chance_is_asked_of_the_concept_whatever_chose_it(score):
    table = ul.dissect(ul.load("bundled:scenes"), "relu4", Scenes(40), exemplars=0, score=score).table()
    table = table[table["p_value"].notna()]
    spread = np.sqrt((19 * table["chance_sd"] ** 2 + (table["chance_sd"] ** 2).median()) / 20)
    standardised = (table["iou"] - table["chance_iou"]) / spread
    p_value = table["p_value"][standardised.sort_values().index]
    assert p_value.is_monotonic_decreasing
    assert p_value.nunique() > 5


def test_wrong_controls_are_answered_in_a_sentence():
    with pytest.raises(ul.UnitlensError, match=r"no control 'rotate' \(did you mean rotated\?\); there are untrained"):
        small("rotate")
    with pytest.raises(ul.UnitlensError, match="leave out evidence=False"):
        small("rotated", evidence=False)


def test_few_images_say_that_there_are_no_intervals():
    maps = np.random.default_rng(0).random((4, 2, 4, 4))
    planes = [{"object": [np.eye(16, dtype=int)]}] * 4
    result = ul.dissect(lookup(maps), "layer", InMemory(planes, (("object", 1, "line"),)), grid=4, quantile=0.1)
    assert any("there are no intervals" in note for note in result.info["warnings"])
    assert result.table()[["iou_low", "iou_high", "concept_set"]].isna().all(axis=None)


def test_the_page_shows_the_comparison(tmp_path):
    page = ul.report(tmp_path / "run", small("untrained")).read_text()
    start = page.index('id="controls"')
    section = page[start : page.index("</section>", start)]
    for text in ("as it is", "untrained", "labels of other images"):
        assert f'<th scope="row">{text}</th>' in section
    assert "an untrained copy was not measured" not in section
    without = ul.report(tmp_path / "other", small(())).read_text()
    assert "an untrained copy was not measured" in without
