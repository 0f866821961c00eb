"""Attacks: images stay within epsilon, and nothing changes at an epsilon of 0."""

import numpy as np
import pytest
import torch

import unitlens as ul
from unitlens.errors import UnitlensError
from unitlens.explaining.pairs.attack_methods import AttackSettings, to_8_bit
from unitlens.explaining.pairs.attack_result import COLUMNS

EPSILON = 8 / 255


@pytest.fixture(scope="module")
def attacking():
    net, data = ul.load("bundled:scenes"), ul.Scenes(60)
    dissection = ul.dissect(net, "relu6", ul.Scenes(24), exemplars=0, evidence=False)

    def run(**settings):
        return ul.attack(net, dissection, data, "ski_slope", **{"steps": 4, "limit": 5, **settings})

    return run


@pytest.fixture(scope="module")
def attacked(attacking):
    with pytest.warns(ul.UnitlensWarning, match="no intervals"):
        return attacking(target="beach", epsilon=EPSILON)


@pytest.mark.filterwarnings("ignore::unitlens.errors.UnitlensWarning")
@pytest.mark.parametrize(
    "settings",
    [{"method": "fgsm"}, {"target": "beach"}, {"norm": "l2", "epsilon": 1.5}],
    ids=["fgsm", "targeted", "l2"],
)
def test_images_stay_within_epsilon(attacking, settings):
    result = attacking(**settings)
    moved = result.l2 if settings.get("norm") == "l2" else result.linf
    assert (moved <= settings.get("epsilon", EPSILON) + 1e-9).all()
    assert (moved > 0).all()
    assert result.attacked.dtype == np.uint8


@pytest.mark.filterwarnings("ignore::unitlens.errors.UnitlensWarning")
def test_an_epsilon_of_0_changes_nothing(attacking):
    result = attacking(epsilon=0.0)
    assert not result.success.any()
    assert not result.linf.any()
    assert not (result.changes.peaks[1] - result.changes.peaks[0]).any()


def test_the_attack_succeeds_and_says_so(attacked):
    table = attacked.table()
    assert list(table.columns) == list(COLUMNS)
    assert (table["class"] == "ski_slope").all()
    assert (table["success"] == (table["prediction"] == "beach")).all()
    rate = attacked.rate
    assert rate.low <= rate.rate <= rate.high
    assert rate.rate == table["success"].mean() > 0.5
    assert "ski_slope to beach" in attacked.describe()


def test_units_and_concepts_are_those_of_the_pairs(attacked):
    assert len(attacked.units()) == 128
    assert attacked.changes.pairs == attacked.images
    assert set(attacked.concepts()["concept"]) == {one.name for one in attacked.changes.labelled.concepts}
    assert set(attacked.files()) == {"attack.csv", "attack.units.csv", "attack.concepts.csv", "attack.matter.csv"}


@pytest.mark.filterwarnings("ignore::unitlens.errors.UnitlensWarning")
def test_the_same_seed_makes_the_same_images(attacking, attacked):
    assert (attacking(target="beach", epsilon=EPSILON).attacked == attacked.attacked).all()


def test_rounding_never_moves_a_number_further():
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for levels in (1, 3, 8):
        moved = (torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(levels)) * 2 - 1) * levels
        attacked = (images.float() / 255 + moved / 255).clamp(0, 1)
        assert (to_8_bit(attacked, images).int() - images.int()).abs().max() <= levels
    exact = torch.arange(256, dtype=torch.uint8)
    assert (to_8_bit(exact.float() / 255, exact) == exact).all()
    assert (
        to_8_bit(((exact.float() + 3) / 255).clamp(max=1), exact).int() - exact.int()
        == (255 - exact.int()).clamp(max=3)
    ).all()


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ({"target": "beech"}, ["'beech'", "did you mean beach?"]),
        ({"target": "ski_slope"}, ["ski_slope already"]),
        ({"method": "pdg"}, ["'pdg'", "did you mean pgd?"]),
        ({"epsilon": 8}, ["epsilon is 8", "8/255"]),
        ({"epsilon": 0.001}, ["one level"]),
        ({"method": "fgsm", "norm": "l2"}, ["fgsm", "linf"]),
        ({"steps": 0}, ["steps is 0"]),
    ],
    ids=["target", "own", "method", "epsilon", "level", "norm", "steps"],
)
def test_bad_settings(attacking, settings, facts):
    with pytest.raises(UnitlensError) as error:
        attacking(**settings)
    assert all(fact in str(error.value) for fact in facts)


def test_bad_classes(attacked):
    net, data = ul.load("bundled:scenes"), ul.Scenes(12)
    dissection = ul.dissect(net, "relu6", ul.Scenes(24), exemplars=0, evidence=False)
    with pytest.raises(UnitlensError, match="did you mean ski_slope"):
        ul.attack(net, dissection, data, "ski_slop")
    with pytest.raises(UnitlensError, match="no image of the class harbour"):
        ul.attack(net, dissection, ul.Scenes(1), "harbour")


def test_the_toolbox_is_asked_for_where_it_is_missing(attacking):
    try:
        import art  # noqa: F401
    except ImportError:
        with pytest.raises(UnitlensError, match=r"unitlens\[attacks\]"):
            attacking(method="cw")
        return
    for settings in ({"method": "cw"}, {"method": "autoattack"}):
        assert attacking(limit=3, steps=2, **settings).images >= 1


def test_settings_are_recorded(attacked):
    recorded = attacked.info["settings"]["attack"]
    assert AttackSettings(**recorded) == AttackSettings(epsilon=EPSILON, steps=4, target=0)
