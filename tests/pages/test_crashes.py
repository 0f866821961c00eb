"""A process that dies while results are written leaves the old or the new, whole, whatever the results are."""

import pytest

import unitlens as ul
from tests.ablation.outcomes.networks import NAMES, Marked, Segmenter, network
from tests.cli.test_ablate import name_classes
from tests.explaining.pairs.test_attacking import EPSILON, Blocks
from tests.explaining.pairs.test_causal_labels import SquarePairs
from tests.faults.crashing import contents, copied_at_each_change
from tests.made_up.effects import agreement_of
from tests.worlds.coloured import blocks, write_world
from tests.worlds.generators import painted, painter
from tests.worlds.planted import ColourWorld, colour_net
from unitlens.journal import settle

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::unitlens.UnitlensWarning")]


def files(folder):
    return {name: content for name, content in contents(folder).items() if content is not None}


def check(old, new, tmp_path):
    """Write old results, then new ones, and look at what is there before each change of a file."""
    (tmp_path / "there").mkdir()
    run = tmp_path / "there" / "run"
    if old is not None:
        old(run)
    before = files(tmp_path / "there")
    with copied_at_each_change(tmp_path / "there", tmp_path / "copies") as copies:
        new(run)
    after, seen = files(tmp_path / "there"), []
    for copy in copies:
        settle(copy / "run")
        seen.append(files(copy))
    assert all(there in (before, after) for there in seen)
    assert seen[0] == before != after == seen[-1]
    assert not [name for name in after if ".unitlens-" in name]
    return before, after


@pytest.fixture(scope="module")
def coloured(net_file, tmp_path_factory):
    """A network, a dissection, another of it, and effects."""
    world = name_classes(write_world(tmp_path_factory.mktemp("world") / "world", images=24))
    net = ul.load(f"{net_file}:build", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    dissections = [ul.dissect(net, "0", world, quantile=q, exemplars=1) for q in (0.15, 0.2)]
    return net, world, *dissections, ul.importance(net, "0", world), ul.ablate(net, "0", [0], world, draws=2)


def test_a_run_with_effects_over_another_with_interventions_beside_it(coloured, tmp_path):
    _, _, first, second, sweep, one = coloured

    def old(run):
        ul.report(run, first, one)
        (run / "interventions").mkdir()
        for name in ("interventions/sheet.png", "interventions.csv", "notes.txt"):
            (run / name).write_text("old")

    before, after = check(old, lambda run: ul.report(run, second, sweep, overwrite=True), tmp_path)
    assert before.keys() - after.keys() >= {"run/interventions/sheet.png", "run/effects.random_sets.csv"}
    assert "run/notes.txt" in after


def test_a_first_run(coloured, tmp_path):
    _, _, first, _, sweep, _ = coloured
    _, after = check(None, lambda run: ul.report(run, first, sweep), tmp_path)
    assert {"run/run.json", "run/effects.json", "run/report.html"} <= after.keys()


def test_effects_beside_a_run_and_over_others_with_attributions(coloured, tmp_path):
    _, _, first, _, sweep, one = coloured

    def old(run):
        ul.report(run, first)
        ul.report(run, sweep, agreement=agreement_of(sweep.classes, "0", units=4))

    before, after = check(old, lambda run: ul.report(run, one, overwrite=True), tmp_path)
    assert before.keys() - after.keys() == {"run/effects.attributions.csv"}


def test_outcomes_over_others(tmp_path):
    net, data = network(Segmenter(), classes=NAMES), Marked(12)
    first, second = (ul.outcome_effects(net, "body", data, ["area:sky"], units=[unit], draws=1) for unit in (1, 2))
    check(lambda run: ul.report(run, first), lambda run: ul.report(run, second, overwrite=True), tmp_path)


def test_interventions_over_others(tmp_path):
    net, data = painter(8), painted(24)
    first = ul.intervene(net, "layer", [0], data, draws=1, concept="red", examples=2)
    second = ul.insertion_map(net, "layer", [2], "blue", data, value=1.0, size=4)
    before, after = check(
        lambda run: ul.report(run, first, first), lambda run: ul.report(run, second, overwrite=True), tmp_path
    )
    assert "run/interventions/SetAreas_2.png" in before.keys() - after.keys()


def test_labels_beside_a_run(tmp_path):
    net = colour_net()
    dissection = ul.dissect(net, "pool", ColourWorld(64), quantile=0.05, exemplars=0)
    labels = ul.causal_labels(net, dissection, SquarePairs(2))
    check(lambda run: ul.report(run, dissection), lambda run: ul.report(run, labels), tmp_path)


def test_pages_of_their_own(coloured, tmp_path):
    net, world, first, second, _, _ = coloured
    data = Blocks(net, 24)
    attack, other = (
        ul.attack(net, first, data, "0", layer="0", epsilon=EPSILON, steps=2, target=target) for target in ("1", "2")
    )
    results = {
        "audit": ul.audit(first, net, world, noise=0),
        "comparison": ul.compare(first, second),
        "explanation": ul.explain(net, first, [blocks(100)[0]], layer="0"),
        "attack": other,
    }

    def old(run):
        ul.report(run, first, attack)

    for name, result in results.items():
        (tmp_path / name).mkdir()
        check(old, lambda run, result=result: ul.report(run, result, overwrite=True), tmp_path / name)
