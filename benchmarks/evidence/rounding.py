"""What ``--fast`` changes in whole dissections: ``python -m benchmarks.evidence.rounding``.

The same images are dissected by the network itself and by its fast copies, with evidence, and the runs are compared
unit by unit. Networks and images are named as for ``unitlens dissect``; a file or package that is named is run.
"""

import click
import numpy as np
import pandas as pd
import torch

import unitlens as ul

PRECISIONS = ("float32", "bfloat16")


def changes(exact: ul.Dissection, fast: ul.Dissection) -> dict[str, object]:
    """One row of the table in docs/speed.md."""
    here, there = exact.table(), fast.table()
    known = np.isfinite(here["threshold"]) & (here["threshold"] != 0) & np.isfinite(there["threshold"])
    moved = (there["threshold"] - here["threshold"]).abs()[known] / here["threshold"].abs()[known]
    other, match = there["concept"].fillna("") != here["concept"].fillna(""), here["above_min_iou"]
    verdict = there["verdict"] != here["verdict"]
    apart = np.nan_to_num(np.abs(np.asarray(fast.scores("iou")) - np.asarray(exact.scores("iou"))))
    (deviation,) = fast.info["deviation"].values()
    return {
        "precision": deviation["precision"],
        "norms folded": f"{deviation['folded']} of {deviation['norms']}",
        "thresholds, largest (median)": f"{moved.max():.1g} ({moved.median():.1g})",
        "another concept": f"{other.sum()} of {len(here)}",
        "of the matches": f"{(other & match).sum()} of {match.sum()}",
        "verdicts": f"{verdict.sum()}, {(verdict & here['detector']).sum()} of detectors",
        "IoU": f"{apart.max():.1g}",
    }


@click.command()
@click.argument("model", default="bundled:scenes")
@click.option("--layer", help="One layer. [the network's own]")
@click.option("--data", default="bundled:scenes", show_default=True, help="As for `unitlens dissect`.")
@click.option("--concepts", multiple=True, default=["masks"], show_default=True)
@click.option("--weights", help="As for `unitlens dissect`.")
@click.option("--image-size", type=int, metavar="S", help="As for `unitlens dissect`.")
@click.option("--images", default=640, show_default=True, help="At most.")
@click.option("--only", type=click.Choice(PRECISIONS), multiple=True, default=PRECISIONS, show_default=True)
def main(
    model: str,
    layer: str | None,
    data: str,
    concepts: tuple[str, ...],
    weights: str | None,
    image_size: int | None,
    images: int,
    only: tuple[str, ...],
) -> None:
    """Compare dissections by MODEL itself and by its fast copies."""
    torch.set_num_threads(1)
    net = ul.load(model, weights=weights, image_size=image_size)
    photos = ul.open_data(data, images=images, concepts=concepts)
    how = {"limit": images, "exemplars": 0}
    exact = ul.dissect(net, layer, photos, **how)
    rows = [changes(exact, ul.dissect(net, layer, photos, fast=precision, **how)) for precision in only]
    with pd.option_context("display.width", 250, "display.max_columns", None):
        click.echo(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
