from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from tests.models import zoo
from unitlens.ablation.replay.cutting import cut_network
from unitlens.ablation.replay.sweeps import sweep
from unitlens.models.hooks import edit

DOCUMENT = Path(__file__).parents[3] / "docs" / "replay.md"
HEAD = (
    "| network | middle convolution | steps behind it | last convolution | steps behind it |\n|---|---|---:|---|---:|\n"
)


class Replayed(NamedTuple):
    layer: str
    steps: int | None  # behind the layer; None where every intervention takes a full pass
    reason: str
    off: float  # the largest difference to the full network, as a share of its largest output


def replayed(model, layer: str, images: torch.Tensor) -> Replayed:
    """Cut there, and compare both ways of replaying with the full network, in units that were not part of the check."""
    cut = cut_network(model, layer, images)
    state = cut.front(images[1:])
    generator = torch.Generator().manual_seed(2)
    variant = state.activation * torch.rand(state.activation.shape[:2], generator=generator)[:, :, None, None]
    unit = min(3, variant.shape[1] - 1)
    one = state.activation.clone()
    one[:, unit] = 1.0
    off = 0.0
    swept = next(iter(sweep(cut, state, torch.ones_like(one), units=range(unit, unit + 1)))).outputs[0]
    for activation, output in ((variant, cut.back(state, variant)), (one, swept)):
        with torch.inference_mode(), edit(model, {layer: lambda _, activation=activation: activation}):
            expected = model(images[1:])
        off = max(off, float((output - expected).abs().amax() / expected.abs().amax()))
    return Replayed(layer, len(cut.split.tail) if cut.split else None, cut.reason, off)


def row(name: str, ends: list[Replayed]) -> str:
    cells = [cell for end in ends for cell in (f"`{end.layer}`", end.reason if end.steps is None else str(end.steps))]
    return f"| {name} | " + " | ".join(cells) + " |\n"


def both_ends(network) -> list[Replayed]:
    """Replay from the middle and from the last convolution (the slow walk of test_zoo.py does it for every network)."""
    convolutions = zoo.convolutions(network)
    images = zoo.images(network)
    both = [
        replayed(network.model, layer, images) for layer in (convolutions[len(convolutions) // 2], convolutions[-1])
    ]
    assert max(end.off for end in both) < 1e-4, (network.name, both)
    return both


def documented() -> dict[str, str]:
    """The rows of the document's table, by the network."""
    table = DOCUMENT.read_text().split(HEAD)[1].split("\n\n")[0]
    return {line.split(" | ")[0].removeprefix("| "): line.rstrip() + "\n" for line in table.splitlines()}


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_small_networks_of_the_zoo_replay(name):
    network = zoo.build(name)
    convolutions = zoo.convolutions(network)
    for layer in (convolutions[len(convolutions) // 2], convolutions[-1]):
        result = replayed(network.model, layer, zoo.images(network))
        assert result.steps is not None, result.reason
        assert result.off < 1e-5


def test_the_document_has_a_row_for_every_classifier_and_nearly_all_cuts_replay():
    rows = documented()
    assert list(rows) == zoo.names()
    assert len(rows) >= 80
    steps = [cell for row in rows.values() for cell in row.split(" | ")[2::2]]
    replays = [cell.removesuffix(" |\n").isdecimal() for cell in steps]
    assert len(replays) == 2 * len(rows)
    assert sum(replays) >= 0.95 * len(replays)
