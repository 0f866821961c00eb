"""How often words are right in the drawn world, beside masks: ``python -m benchmarks.labels.words``.

The units of the bundled classifier are named on some drawn scenes, by masks and by words of the bundled encoder, which
was never told where things are. On other scenes masks say what is right: the unit's best concept, or one whose IoU with
the unit is at least half of that. What counts are the units that are detectors on these other scenes.
"""

import time
from collections.abc import Mapping

import click
import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest

import unitlens as ul
from unitlens.labels.by_words.naming import METHODS


def truth(run: ul.Dissection) -> dict[int, tuple[str, set[str]]]:
    """Of each detector of a run, its best concept and those of at least half of its IoU."""
    iou, names = run.counts.iou, np.array(run.concepts)
    units = run.table().query("detector")["unit"].tolist()
    return {unit: (names[iou[unit].argmax()], set(names[iou[unit] >= iou[unit].max() / 2])) for unit in units}


def share(labels: Mapping[int, str], known: Mapping[int, tuple[str, set[str]]], title: str) -> dict[str, object]:
    """How many of the labels are right, with 95 % intervals (Wilson)."""
    units = [unit for unit in known if unit in labels]
    row: dict[str, object] = {"labels": title, "units": len(units)}
    for name, right in (
        ("best", [labels[unit] == known[unit][0] for unit in units]),
        ("right", [labels[unit] in known[unit][1] for unit in units]),
    ):
        interval = binomtest(sum(right), len(right)).proportion_ci(method="wilson")
        row[name] = f"{np.mean(right):.0%} ({interval.low:.0%} to {interval.high:.0%})"
    return row


def shuffled(labels: Mapping[int, str], seed: int = 0) -> dict[int, str]:
    """The labels of other units."""
    order = np.random.default_rng(seed).permutation(list(labels))
    return {unit: labels[other] for unit, other in zip(labels, order, strict=True)}


@click.command()
@click.option("--images", default=1000, show_default=True, help="Scenes to name units on, and as many to judge by.")
@click.option("--layer", default="relu6", show_default=True)
@click.option("--exemplars", type=int, help="By which soft_wpmi names a unit. [a twentieth of the images, 10 to 100]")
@click.option("--crops", default=10, show_default=True, help="Exemplars of which crops are taken.")
@click.option("--pooling", type=click.Choice(["max", "mean"]), default="max", show_default=True)
def main(images: int, layer: str, exemplars: int | None, crops: int, pooling: str) -> None:
    """Count right words."""
    torch.set_num_threads(1)
    net, here, there = ul.load("bundled:scenes"), ul.Scenes(images), ul.Scenes(images, seed=1)
    run, judge = (ul.dissect(net, layer, data) for data in (here, there))
    known, table = truth(judge), run.table()
    by_masks = dict(zip(table["unit"], table["concept"], strict=True))
    rows = [share(by_masks, known, "masks"), share(shuffled(by_masks), known, "masks, of other units")]
    for title, encoder in (
        ("", ul.encoder("bundled:scenes-words")),
        (", untrained encoder", ul.encoder("bundled:scenes-words", weights="none")),
    ):
        began = time.perf_counter()
        found = ul.words(run, encoder, net=net, data=here, exemplars=exemplars, crops=crops, pooling=pooling)
        click.echo(f"{time.perf_counter() - began:.0f} s for {len(METHODS)} methods{title}")
        for method in METHODS:
            of_method = found[method].rows
            labels = dict(zip(of_method["unit"], of_method["label"], strict=True))
            supported = dict(of_method.loc[of_method["verdict"] == "supported", ["unit", "label"]].to_numpy().tolist())
            rows.append(share(labels, known, f"{method}{title}"))
            if set(supported) & set(known):
                rows.append(share(supported, known, f"{method}{title}, supported"))
            rows.append(share(shuffled(labels), known, f"{method}{title}, of other units"))
    most = table["concept"].mode()[0]
    rows.append(share(dict.fromkeys(by_masks, most), known, f"always {most}"))
    with pd.option_context("display.width", 200, "display.max_colwidth", None):
        click.echo(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
