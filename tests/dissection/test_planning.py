import re

import pytest
import torch

import unitlens as ul
from tests.worlds.planted import ColourWorld, colour_net
from unitlens.dissection.costs import CountingCost, PassCost


@pytest.fixture(scope="module")
def planned():
    return ul.plan(colour_net(), ["pool", "head"], ColourWorld(100), quantile=0.02, batch_size=8)


def test_what_is_looked_at_is_counted_before_it_is_run(planned):
    assert [tuple(layer) for layer in planned.layers] == [("pool", 8, (8, 8)), ("head", 4, None)]
    assert (planned.images, planned.passes, planned.sample) == (100, 1, 32)
    assert (planned.concepts, planned.categories, planned.grid) == (5, 2, (8, 8))


def test_the_disk_is_that_of_the_run_itself(planned):
    from unitlens.dissection.forward import THUMBNAIL

    maps = 8 * (4 * 8 * 8 + 4 + 4 + 8) + 4 * (4 + 4)  # with peak, smallest value and sum where there is a grid
    planes = 2 * 2 * 8 * 8 + 1 + 5 + 2
    assert THUMBNAIL > 32
    assert planned.disk == 100 * (maps + planes + 3 * 32 * 32)
    assert planned.free > 0


def test_the_disk_that_is_planned_is_what_a_run_asks_for(planned):
    with pytest.raises(ul.UnitlensError, match="The store needs") as refused:
        ul.dissect(colour_net(), ["pool", "head"], ColourWorld(100), quantile=0.02, store_limit=1)
    said = re.search(r"needs ([\d.e+]+) kB", str(refused.value)).group(1)
    assert float(said) == pytest.approx(planned.disk / 1000, rel=0.01)


def test_time_and_memory_are_positive(planned):
    assert 0 < planned.seconds < 600
    assert planned.memory is None or planned.memory > 1 << 24


def test_a_pass_takes_what_is_slowest_where_workers_decode_beside_the_network(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    cost = PassCost(decoding=0.4, forward=0.1)
    assert cost.seconds(10, workers=0) == pytest.approx(5)
    assert cost.seconds(10, workers=2) == pytest.approx(2)  # decoding
    assert cost.seconds(10, workers=7) == pytest.approx(1)  # the network


def test_counting_grows_with_blocks_and_with_images():
    cost = CountingCost(blocks=3, fixed=1.0, image=0.01, levels=0.02)
    assert cost.seconds(100, levels=False) == pytest.approx(3 * (1 + 1))
    assert cost.seconds(100, levels=True) == pytest.approx(3 * (1 + 3))


def test_a_few_images_of_a_layer_without_a_grid_are_enough_for_a_plan():
    planned = ul.plan(colour_net(), "head", ColourWorld(200), batch_size=4)
    assert (planned.sample, planned.images) == (32, 200)


def test_a_plan_says_what_a_dissection_would_say():
    with pytest.raises(ul.UnitlensError, match=r"There is no layer 'pol' in this ColourNet \(did you mean pool\?\)"):
        ul.plan(colour_net(), "pol", ColourWorld(100))


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        ({"control": "untrained"}, 2),
        ({"control": ["untrained", "rotated"]}, 4),
        ({"levels": True, "score": "auprc", "fast": True}, 1),
        ({"evidence": False, "exemplars": 0}, 1),
        ({"preset": "netdissect2017", "grid": 8}, 1),
    ],
)
def test_every_option_that_changes_the_cost_is_known(options, passes):
    planned = ul.plan(colour_net(), ["pool", "head"], ColourWorld(64), **{"quantile": 0.05} | options)
    assert planned.passes == passes
    assert planned.seconds > 0


def test_a_plan_refuses_what_a_dissection_refuses():
    with pytest.raises(TypeError, match="quantil"):
        ul.plan(colour_net(), "pool", ColourWorld(64), quantil=0.1)
    with pytest.raises(ul.UnitlensError, match="only 20 positions"):
        ul.plan(colour_net(), "head", ColourWorld(20), quantile=0.01)
    with pytest.raises(ul.UnitlensError, match="only 1 image"):
        ul.plan(colour_net(), "pool", ColourWorld(20), limit=1)


def test_a_plan_leaves_the_model_as_it_was():
    net = colour_net()
    before = {name: value.clone() for name, value in net.model.state_dict().items()}
    net.model.train()
    ul.plan(net, "pool", ColourWorld(40), control="untrained")
    assert net.model.training
    assert all(torch.equal(value, before[name]) for name, value in net.model.state_dict().items())


def test_the_command(shell, world, net_file):
    said = shell(
        "plan", f"{net_file}:build", "--layer", "0", "--data", world, "--image-size", 32, "--mean", 0, "--std", 1
    )
    assert said.code == 0, said.err
    for pattern in (
        r"^layer 0 +4 units, 32x32$",
        r"^concepts +3 in 1 category$",
        r"^label grid +8x8$",
        r"^images +\d+, each shown to the network once$",
        r"^time +about \d+ s on this machine, from \d+ images$",
        r"^disk +.* while it runs, of .* that are free$",
    ):
        assert re.search(pattern, said.out, re.M), (pattern, said.out)


def test_the_command_knows_the_options_of_dissect(shell, world, net_file):
    network = (f"{net_file}:build", "--layer", "0", "--data", world, "--image-size", 32, "--mean", 0, "--std", 1)
    options = (
        "--control",
        "untrained",
        "--levels",
        "--score",
        "f1",
        "--fast",
        "--store-limit",
        "1kB",
        "--quantile",
        0.1,
    )
    said = shell("plan", *network, *options)
    assert said.code == 0, said.err
    assert "shown to the network 2 times" in said.out
    assert "1 kB are allowed" in said.out


def test_plan_has_all_options_of_dissect_but_those_of_its_files():
    from unitlens.cli.dissect import dissect
    from unitlens.cli.plan import plan

    # pairs of scenes are shown to the network after the dissection, which is done by then
    names = {option.name for option in plan.params}
    assert names - {option.name for option in dissect.params} == {"images", "processes", "rates"}
    assert {option.name for option in dissect.params} - names == {
        *("out", "overwrite", "quiet", "pairs", "shard", "again", "keep_activations")
    }


def test_a_plan_leaves_the_random_state_of_torch_as_it_was():
    net, before = colour_net(), torch.random.get_rng_state()
    ul.plan(net, "pool", ColourWorld(40), control=["untrained", "rotated"])
    assert torch.equal(torch.random.get_rng_state(), before)
