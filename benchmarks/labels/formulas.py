"""Formulas of the units of the bundled network, by length: seconds a unit, what is proven, what is more than its parts.

    python -m benchmarks.labels.formulas --images 600

The beam is compared with the optimum where that is proven; docs/labels.md states the numbers.
"""

import argparse
import tempfile
import time

import numpy as np

import unitlens as ul


def measured(run: ul.Dissection, *, length: int, budget: int) -> tuple[float, ul.Labels]:
    """Seconds a unit, and the labels."""
    start = time.process_time()
    labels = ul.formulas(run, length=length, budget=budget)
    return (time.process_time() - start) / len(labels.rows), labels


def main() -> None:
    """Print a row for each length, with and without a proof, and one for ranges."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--lengths", type=int, nargs="+", default=[1, 2, 3, 4])
    chosen = parser.parse_args()
    net, data = ul.load("bundled:scenes"), ul.Scenes(chosen.images)
    with tempfile.TemporaryDirectory() as folder:
        run = ul.dissect(net, None, data, exemplars=0, checkpoint=f"{folder}/kept")
        words = run.table().set_index("unit")["iou"]
        print(f"{len(run.concepts)} concepts, {chosen.images} images, IoU of the word {words.mean():.4f} on average")
        for length in chosen.lengths:
            beam, by_beam = measured(run, length=length, budget=0)
            seconds, best = measured(run, length=length, budget=1000)
            print(f"length {length}: {beam:.3f} s a unit by beam, {seconds:.3f} s with a proof; {_said(best, by_beam)}")
        start = time.process_time()
        ranges = ul.ranges(run)
        seconds = (time.process_time() - start) / ranges.rows["unit"].nunique()
        print(f"5 ranges: {seconds:.3f} s a unit, {(ranges.rows['verdict'] == 'supported').mean():.0%} supported")


def _said(best: ul.Labels, by_beam: ul.Labels) -> str:
    """What the labels come to."""
    rows = best.rows
    gap = rows["bound"] - rows["score"]
    below = rows["score"].to_numpy() - by_beam.rows["score"].to_numpy()
    verdicts = rows["verdict"].value_counts()
    scores = ", ".join(f"{name} {rows[name].mean():.4f}" for name in ("score", "heldout_score", "chance_score"))
    proven = f"{np.mean(gap < 1e-12):.0%} proven, largest gap {gap.max():.4f}"
    return f"{proven}; by beam lower in {np.mean(below > 1e-12):.0%}; {scores}; {dict(verdicts)}"


if __name__ == "__main__":
    main()
