"""How often does `compare` tell the same network apart? With other numbers of images, and with other seeds.

    python -m benchmarks.evidence.comparison --seeds 12 --images 200

The bundled network on 100 drawn scenes is compared with itself on 1,000 others; and untrained copies of it, which
differ by nothing but their seed, are compared on the same scenes: one with one, and three with three.
"""

import argparse
import itertools
import warnings

import numpy as np
import torch

import unitlens as ul
from unitlens.dissection.controls import untrained_copy


def all_categories(*entries: ul.Dissection | list[ul.Dissection]) -> dict[str, float]:
    """The second entry's row over all categories."""
    table = ul.compare(*entries, names=["first", "second"]).table()
    row: dict[str, float] = table[table["category"] == "all"].iloc[1].to_dict()
    return row


def told_apart(row: dict[str, float]) -> bool:
    """Whether the interval of the difference in detectors excludes 0."""
    return row["detectors_difference_low"] > 0 or row["detectors_difference_high"] < 0


def other_numbers_of_images(samples: int) -> None:
    """Compare 100 images with 1,000."""
    net = ul.load("bundled:scenes")
    many = ul.dissect(net, None, ul.Scenes(1000, seed=50), exemplars=0)
    for sample in range(samples):
        few = ul.dissect(net, None, ul.Scenes(100, seed=100 + sample), exemplars=0)
        row = all_categories(few, many)
        low, high = row["detectors_difference_low"], row["detectors_difference_high"]
        print(
            f"100 images: {len(few.detectors())} detectors, 1,000: {len(many.detectors())}; at equal power "
            f"{row['detectors_difference']:+.1f} ({low:.1f} to {high:.1f})",
            flush=True,
        )


def other_seeds(seeds: int, images: int, triples: int = 60) -> None:
    """Compare untrained copies, one with one and three with three."""
    net, data, rng = ul.load("bundled:scenes"), ul.Scenes(images, seed=7), np.random.default_rng(0)
    runs = [ul.dissect(untrained_copy(net, seed=seed)[0], None, data, exemplars=0) for seed in range(seeds)]
    pairs = [told_apart(all_categories(*pair)) for pair in itertools.combinations(runs, 2)]
    print(f"one with one: {np.mean(pairs):.1%} of {len(pairs)} pairs told apart", flush=True)
    drawn = [[runs[i] for i in rng.permutation(seeds)[:6]] for _ in range(triples)]
    apart = [told_apart(all_categories(six[:3], six[3:])) for six in drawn]
    print(f"three with three: {np.mean(apart):.1%} of {triples} pairs of triples told apart", flush=True)


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=4, help="Of 100 images. [4]")
    parser.add_argument("--seeds", type=int, default=12, help="Of untrained copies; 6 or more. [12]")
    parser.add_argument("--images", type=int, default=200, help="For the seeds. [200]")
    options = parser.parse_args()
    if options.seeds < 6:
        parser.error(f"--seeds is {options.seeds}: give 6 or more, of which two triples are drawn.")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ul.UnitlensWarning)
    other_numbers_of_images(options.samples)
    other_seeds(options.seeds, options.images)


if __name__ == "__main__":
    main()
