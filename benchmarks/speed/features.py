"""What a dissection of a dictionary's features costs: its time over that of a bare forward pass, in one run.

    python -m benchmarks.speed.features --features 16384 --images 1000 --runs 3
    python -m benchmarks.speed.features --kind relu --only statistics
    python -m benchmarks.speed.features --regions 0

ResNet-18's layer4 and 102 concepts in 3 label planes, on one thread. Each plane has 7 rectangles, so that an image has
about 20 different labels, as densely marked photos have; with `--regions 0` it has 36 patches, and an image 66 labels,
which is the most that `benchmarks/speed/dissect.py` draws. The dictionary is not trained, but as many features are
active as of one that is: what it costs depends on that alone. "statistics" are the counts, "evidence" all but the page,
"whole" with it, "units" a whole dissection of the 512 units.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import torch

import unitlens as ul
from benchmarks.speed.dissect import CLOCKS, bare_alone, draw_folder, ours
from unitlens.data.batches import Batches
from unitlens.data.reading import Reading
from unitlens.models.passes import evaluating

KINDS = {
    "units": {"evidence": True, "report": True},
    "statistics": {"evidence": False, "report": False},
    "evidence": {"evidence": True, "report": False},
    "whole": {"evidence": True, "report": True},
}


def drawn_dictionary(net: ul.Network, data: ul.Data, features: int, kind: str) -> ul.Dictionary:
    """Features along positions of layer4 in the first images, and noise, so that nearly all are active somewhere."""
    generator = torch.Generator().manual_seed(0)
    batch = next(iter(Batches(data, net.preprocessing, Reading(batch_size=128))))
    with evaluating(net.model), ul.record(net.model, "layer4") as recording:
        net.model(net.prepare(batch.images))
    positions = recording["layer4"].movedim(1, -1).flatten(0, 2)
    mean, scale = positions.mean(0), positions.std(0).clamp(min=1e-6)
    seen = torch.randint(len(positions), (features,), generator=generator)
    encoder = (positions[seen] - mean) / scale
    encoder = encoder / encoder.norm(dim=1, keepdim=True) + 0.03 * torch.randn(features, 512, generator=generator)
    encoder = encoder / encoder.norm(dim=1, keepdim=True)
    arrays = {"encoder": encoder, "decoder": encoder, "mean": mean, "scale": scale}
    return ul.features(arrays, kind=kind)


def main() -> None:
    """Measure, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, default=16384)
    parser.add_argument("--kind", default="topk:32")
    parser.add_argument("--regions", type=int, default=7, help="Rectangles in a label plane; 0: 36 patches.")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=sorted(KINDS), action="append", help="Leave out the others; repeatable.")
    parser.add_argument("--clock", default="wall", choices=sorted(CLOCKS))
    options = parser.parse_args()
    clock = CLOCKS[options.clock]
    torch.set_num_threads(1)
    net = ul.load("resnet18", weights="none")
    with tempfile.TemporaryDirectory() as folder:
        draw_folder(Path(folder) / "data", options.images, concepts=34, regions=options.regions or None)
        data = ul.annotated(Path(folder) / "data")
        dictionary = drawn_dictionary(net, data, options.features, options.kind)
        ratios: dict[str, list[float]] = {name: [] for name in KINDS if name in (options.only or KINDS)}
        for run in range(options.runs):
            reference = bare_alone("resnet18", Path(folder) / "data", 32, options.clock)
            for name in ratios:
                basis = None if name == "units" else dictionary
                taken = ours(net, data, "layer4", 32, clock, basis=basis, **KINDS[name])
                ratios[name].append(taken / reference)
                print(f"run {run + 1} {name}: {taken:.1f} s / {reference:.1f} s = {taken / reference:.3f}", flush=True)
    for name, values in ratios.items():
        spread = f"{min(values):.3f} to {max(values):.3f}"
        print(f"{options.features} features {options.kind}, {name}: {statistics.median(values):.3f} ({spread})")


if __name__ == "__main__":
    main()
