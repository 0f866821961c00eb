"""Concepts removed from, and inserted into, what generators draw: ``python -m benchmarks.generators.objects``.

The units of highest IoU with a concept are set to 0, or to their thresholds, in images that did not choose them, and
the area of the concept is measured, beside as many units drawn at random and others that hand on about as much. Where
what is inserted appears is measured at every place of the layer's grid, by what stood there before. Prints the tables
of docs/generators.md; with ``--faces MODELS.py``, of colours in a generator of faces, in place of the bundled one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pandas as pd
import torch

import unitlens as ul
from benchmarks.generators.published import load_models
from unitlens.files import make_folder

CONCEPTS = ("tree", "sea", "snow", "car", "bed", "house")
COLOURS = ("black", "white", "red")
LAYER, FACES_LAYER = "block16", "main.8"
PLACE = 4
"""Positions of the grid, each way, of a place at which units are inserted."""
FEWEST = 40
"""What stood at fewer places is not listed."""


def percent(*values: float) -> str:
    """One number, or one and its interval."""
    first, *interval = (f"{100 * value:.1f}" for value in values)
    return f"{first} ({' to '.join(interval)})" if interval else first


def row_of(result: ul.SetAreas, concept: str) -> "pd.Series[Any]":
    """What a set of units did to one concept."""
    table = result.table()
    return table[table["concept"] == concept].iloc[0]


def measured_row(removed: ul.SetAreas, inserted: ul.SetAreas, concept: str) -> dict[str, Any]:
    """A row of the table: areas in percent of the image."""
    gone, come = row_of(removed, concept), row_of(inserted, concept)
    return {
        "concept": concept,
        "images with it": f"{gone['present']} of {gone['images']}",
        "before": percent(gone["before"]),
        "removed: after": percent(gone["after"]),
        "of its area gone": percent(gone["removed"], gone["removed_low"], gone["removed_high"]),
        "effect": percent(gone["effect"], gone["low"], gone["high"]),
        "q": f"{gone['q_value']:.3f}",
        "random": percent(gone["random_mean"], gone["random_low"], gone["random_high"]),
        "matched": percent(gone["matched_mean"], gone["matched_low"], gone["matched_high"]),
        "images moved": f"{percent(removed.moved)}, random {percent(removed.moved_by_drawn().mean)}",
        "inserted": percent(come["effect"], come["low"], come["high"]),
        "random inserted": percent(come["random_mean"], come["random_low"], come["random_high"]),
        "matched inserted": percent(come["matched_mean"], come["matched_low"], come["matched_high"]),
    }


def contexts(places: ul.InsertionMap) -> str:
    """Where the concept appears, by what stood there, most often first; and with random units."""
    table = places.table()
    table = table[(table["places"] >= FEWEST) & (table["before"] != places.concept.name)]
    rows = table.sort_values("appeared", ascending=False).itertuples()
    parts = []
    for row in rows:
        share, by_random = percent(row.appeared, row.low, row.high), percent(row.random_appeared)
        parts.append(f"{row.before} {share}, random {by_random}, of {row.places}")
    return ", ".join(parts)


def measure(
    net: ul.Network, layer: str, d: ul.Dissection, fresh: ul.Data, concepts: Sequence[str], *, draws: int, size: int
) -> tuple[pd.DataFrame, dict[str, tuple[int, ...]]]:
    """Remove and insert the units of each concept in fresh images."""
    thresholds = torch.from_numpy(d.table()["threshold"].to_numpy("float32"))
    rows, sets = [], {}
    for concept in concepts:
        units = sets[concept] = tuple(d.units_for(concept, size))
        removed = ul.intervene(net, layer, units, fresh, draws=draws, examples=0)
        inserted = ul.intervene(net, layer, units, fresh, value=thresholds, draws=draws, examples=0)
        rows.append(measured_row(removed, inserted, concept))
        click.echo(f"{concept}: units {units}; its place took {removed.took_its_place(concept, 3).round(2).to_dict()}")
    return pd.DataFrame(rows), sets


def bundled(chosen_by: int, fresh: int, *, draws: int, size: int, places: int) -> None:
    """Concepts of the bundled generator, and where they appear."""
    net, segmenter = ul.load("bundled:scenes-generator"), ul.segmenter("bundled:scenes-segmenter")
    d = ul.dissect(net, LAYER, ul.with_concepts(ul.latents(96, chosen_by), segmenter), exemplars=0)
    data = ul.with_concepts(ul.latents(96, fresh, seed=1), segmenter)
    table, sets = measure(net, LAYER, d, data, CONCEPTS, draws=draws, size=size)
    click.echo(table.T.to_string(header=False))
    thresholds = torch.from_numpy(d.table()["threshold"].to_numpy("float32"))
    for concept, units in sets.items():
        found = ul.insertion_map(net, LAYER, units, concept, data, value=thresholds, size=PLACE, limit=places)
        click.echo(f"{concept} (usually {percent(found.usual_area)}) appears at {contexts(found)}")


def faces(models: Path, chosen_by: int, fresh: int, *, draws: int, size: int, out: Path | None) -> None:
    """Colours of a generator of faces; sheets of what becomes of them."""
    net = ul.generator(load_models(models).dcgan(), latents=(100, 1, 1), name="dcgan")
    d = ul.dissect(net, FACES_LAYER, ul.with_concepts(ul.latents((100, 1, 1), chosen_by), ul.Colors()), exemplars=0)
    latents = ul.latents((100, 1, 1), fresh, seed=1)
    table, sets = measure(net, FACES_LAYER, d, ul.with_concepts(latents, ul.Colors()), COLOURS, draws=draws, size=size)
    click.echo(table.T.to_string(header=False))
    if out is not None:
        make_folder(out)
        shown = ul.latents((100, 1, 1), 12, seed=1)
        for colour, units in sets.items():
            ul.edit_image(net, shown, layer=FACES_LAYER, remove=units).sheet(out / f"{colour}.png")


@click.command()
@click.option("--chosen-by", default=360, show_default=True, help="Images whose dissection chooses the units.")
@click.option("--images", default=256, show_default=True, help="Fresh images in which they are removed and inserted.")
@click.option("--places", default=96, show_default=True, help="Images of the map of places.")
@click.option("--units", default=20, show_default=True, help="Of each concept.")
@click.option("--draws", default=10, show_default=True, help="Random and matched sets, of each.")
@click.option("--faces", "models", type=click.Path(path_type=Path), help="File with dcgan(): colours of faces instead.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the sheets of faces.")
def main(
    chosen_by: int, images: int, places: int, units: int, draws: int, models: Path | None, out: Path | None
) -> None:
    """Remove and insert concepts."""
    torch.set_num_threads(1)
    if models is None:
        bundled(chosen_by, images, draws=draws, size=units, places=places)
    else:
        faces(models, chosen_by, images, draws=draws, size=units, out=out)


if __name__ == "__main__":
    main()
