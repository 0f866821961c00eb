"""Names that come from files: none steers the terminal, and those that are not Unicode come back as they were."""

import json
import os

import pytest
import torch

import unitlens as ul
from tests.worlds.planted import COLOURS, ColourNet, ColourWorld
from unitlens.ablation.files import read_effects

EVIL = "\x1b]0;evil\x07"
CAFE = os.fsdecode(b"caf\xe9")


def strange_world(name):
    """The world of colours with this name for a concept, for every image, and as the source."""

    class World(ColourWorld):
        concepts = (ul.Concept("color", 1, name), *ColourWorld.concepts[1:])
        source = f"photos/{name}"

        def __getitem__(self, index):
            example = super().__getitem__(index)
            class_ = (name, *COLOURS)[index % 4]  # of the four outputs
            return ul.Example(example.image, example.planes, f"{name} {index}", class_)

    return World()


def strange_net(module):
    model = torch.nn.Sequential()
    model.add_module(module, ColourNet())
    return ul.classifier(model, image_size=32, mean=(0, 0, 0), std=(1, 1, 1))


@pytest.fixture(scope="module", params=[EVIL, CAFE], ids=["escape", "bytes"])
def strange(request, tmp_path_factory):
    """A name, and a run with effects in which everything is called that."""
    name, run = request.param, tmp_path_factory.mktemp("strange") / "run"
    module = name if name == EVIL else "net"  # modules have no names of files
    net, data, layer = strange_net(module), strange_world(name), f"{module}.pool"
    dissection = ul.dissect(net, layer, data, quantile=0.05)
    effects = ul.importance(net, layer, data)
    chosen = ul.ablate(net, layer, [0, 1], data, draws=2)
    ul.report(run, dissection, effects, chosen)
    return name, run, dissection


def test_what_is_printed_steers_no_terminal_and_is_text(strange, shell):
    name, run, dissection = strange
    for arguments in (("units", run), ("report", run), ("units", run, "--concept", "rde"), ("compare", run, run)):
        printed = shell(*arguments)
        assert "Traceback" not in printed.err
        for text in (printed.out, printed.err):
            assert not set(text) & set("\x1b\x07\udce9")
            text.encode()
    assert "]0;evil?" in shell("units", run).out or name == CAFE
    with pytest.raises(ul.UnitlensError) as error:
        dissection.units_for("rde")
    assert name not in str(error.value)


def test_names_come_back_as_they_were(strange):
    name, run, dissection = strange
    opened = ul.open_run(run)
    assert opened.info["data"]["source"] == f"photos/{name}"
    assert opened.info["data"]["concepts"][0]["name"] == name
    assert opened.table()["concept"].tolist() == dissection.table()["concept"].tolist()
    assert name in opened.table()["concept"].tolist()
    assert opened.info == json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert name in read_effects(run).units.classes
    (run / "report.html").read_text(encoding="utf-8")


def test_names_that_tables_cannot_hold_beside_pyarrow_are_one_sentence(shell, monkeypatch, tmp_path):
    def hold(*_, **__):
        CAFE.encode()

    monkeypatch.setattr("unitlens.dissection.labelling.unit_table", hold)
    said = shell("dissect", "bundled:scenes", "--data", "bundled:scenes", "--limit", 8, "--out", tmp_path / "run")
    assert said.code == 2
    assert "the name 'caf" in said.err
    assert "not Unicode" in said.err
    assert "rename it" in said.err
    assert "Traceback" not in said.err
