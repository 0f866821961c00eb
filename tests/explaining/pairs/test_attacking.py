"""Attacks: images stay within epsilon, and nothing changes at an epsilon of 0."""

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.worlds.coloured import blocks
from unitlens.errors import UnitlensError
from unitlens.explaining.pairs.attack_methods import AttackSettings, to_8_bit
from unitlens.explaining.pairs.attack_result import COLUMNS

EPSILON = 40 / 255


class Blocks:
    """Blocks of colours, each image of the class that the network predicts."""

    concepts = ()

    def __init__(self, net, images=60):
        self.images = [blocks(seed)[0] for seed in range(300, 300 + images)]
        inputs = torch.from_numpy(np.stack(self.images)).permute(0, 3, 1, 2)
        with ul.evaluating(net.model):
            self.classes = net.model(net.prepare(inputs)).argmax(1).tolist()

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return ul.Example(self.images[index], {}, f"{index}.png", str(self.classes[index]))


@pytest.fixture(scope="module")
def attacking(net_file, dissection):
    net = ul.load(f"{net_file}:build", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    data = Blocks(net)

    def run(of_class="0", **settings):
        return ul.attack(net, dissection, data, of_class, **{"layer": "0", "epsilon": EPSILON, "steps": 4, **settings})

    return run


@pytest.fixture(scope="module")
def attacked(attacking):
    return attacking(target="1")


@pytest.mark.filterwarnings("ignore::unitlens.errors.UnitlensWarning")
@pytest.mark.parametrize(
    "settings",
    [{"method": "fgsm"}, {"target": "1"}, {"norm": "l2", "epsilon": 1.5}],
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
    assert (table["class"] == "0").all()
    assert (table["success"] == (table["prediction"] == "1")).all()
    rate = attacked.rate
    assert rate.low <= rate.rate <= rate.high
    assert rate.rate == table["success"].mean() > 0.5
    assert "images of 0 to 1" in attacked.describe()


def test_units_and_concepts_are_those_of_the_pairs(attacked):
    # the head reads units 0, 1 and 2 as classes 0, 1 and 2: red goes, green comes
    assert len(attacked.units()) == 4
    assert attacked.changes.pairs == attacked.images
    table = attacked.units().set_index("unit")
    assert table.loc[0, "peak_change"] < 0 < table.loc[1, "peak_change"]
    assert (table.loc[[0, 1], "margin_change"] < 0).all()
    assert set(attacked.files()) == {"attack.csv", "attack.units.csv", "attack.concepts.csv", "attack.matter.csv"}
    assert len(attacked.changes.matter()) == 2


@pytest.mark.slow
def test_ski_slopes_that_become_beaches_lose_mountains_and_gain_sand():
    net, scenes = ul.load("bundled:scenes"), ul.Scenes(240)
    dissection = ul.dissect(net, "relu6", scenes, exemplars=0)
    concepts = ul.attack(net, dissection, scenes, "ski_slope", "beach").concepts().set_index("concept")["change"]
    assert concepts["sand"] == "added"
    assert concepts["mountain"] == "removed"


@pytest.mark.filterwarnings("ignore::unitlens.errors.UnitlensWarning")
def test_the_same_seed_makes_the_same_images(attacking, attacked):
    assert (attacking(target="1").attacked == attacked.attacked).all()


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
        ({"target": "blue"}, ["'blue'", "0, 1, 2"]),
        ({"target": "0"}, ["of 0 already"]),
        ({"method": "pdg"}, ["'pdg'", "did you mean pgd?"]),
        ({"epsilon": 8}, ["epsilon is 8", "8/255"]),
        ({"epsilon": 0.001}, ["one level"]),
        ({"method": "fgsm", "norm": "l2"}, ["fgsm", "linf"]),
        ({"steps": 0}, ["steps is 0"]),
        ({"method": "autoattack", "target": "1"}, ["autoattack", "leave the target out"]),
    ],
    ids=["target", "own", "method", "epsilon", "level", "norm", "steps", "autoattack"],
)
def test_bad_settings(attacking, settings, facts):
    with pytest.raises(UnitlensError) as error:
        attacking(**settings)
    assert all(fact in str(error.value) for fact in facts)


def test_images_of_the_class_that_are_predicted_as_it_are_needed(attacking, net_file, dissection):
    net = ul.load(f"{net_file}:build", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    wrong, few = Blocks(net, 12), Blocks(net, 12)
    wrong.classes = [(class_ + 1) % 3 for class_ in wrong.classes]
    few.classes = [1] * 12
    with pytest.raises(UnitlensError, match=r"None of .* images of 0 is predicted as it"):
        ul.attack(net, dissection, wrong, "0", layer="0")
    with pytest.raises(UnitlensError, match="no image of the class 0"):
        ul.attack(net, dissection, few, "0", layer="0")
    with pytest.raises(UnitlensError, match="There is no class 'red'"):
        attacking(of_class="red")


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
    assert AttackSettings(**recorded) == AttackSettings(epsilon=EPSILON, steps=4, target=1)
