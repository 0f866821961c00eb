"""The figures and tables of Bau et al., PNAS 2020, on the bundled networks: ``python -m benchmarks.paper``.

Every row is measured anew, with fixed seeds, and printed beside the paper's; with ``--write`` (``make paper``) the
table in docs/paper.md is replaced by it. Some minutes on one core.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import pandas as pd
import torch

import unitlens as ul
from unitlens.ablation.uses import classes_served
from unitlens.files import write_whole

PAGE = Path(__file__).parents[1] / "docs" / "paper.md"
BEGIN, END = "<!-- measured by make paper: begin -->", "<!-- measured by make paper: end -->"
LAYERS = ("relu2", "relu3", "relu4", "relu5", "relu6")
LAYER, DRAWN_LAYER = "relu6", "block16"
CLASS, TARGET, CONCEPT = "ski_slope", "bedroom", "tree"
FIRST = 20
CATEGORIES = ("object", "part", "material", "color")


class Row(NamedTuple):
    """A figure or table of the paper.

    Attributes
    ----------
    figure : str
        Where it stands in the paper.
    shows : str
    ours : str
        What was measured, with intervals.
    papers : str
        What the paper reports.
    """

    figure: str
    shows: str
    ours: str
    papers: str


class World(NamedTuple):
    """What everything is measured on."""

    net: ul.Network
    data: ul.Data
    dissection: ul.Dissection
    effects: ul.UnitEffects
    generator: ul.Network
    latents: ul.Data
    drawn: ul.Dissection


def make_world(images: int, latents: int) -> World:
    """Dissect the bundled classifier and the bundled generator, and remove every unit of the classifier's layer."""
    net, data = ul.load("bundled:scenes"), ul.Scenes(images)
    dissection = ul.dissect(net, LAYERS, data, exemplars=0)
    effects = ul.importance(net, LAYER, data, measures=["balanced_accuracy", "logit"])
    generator = ul.load("bundled:scenes-generator")
    marked = ul.with_concepts(ul.latents(96, latents), ul.segmenter("bundled:scenes-segmenter"))
    drawn = ul.dissect(generator, DRAWN_LAYER, marked, exemplars=0)
    return World(net, data, dissection, effects, generator, marked, drawn)


def interval(value: float, low: float, high: float, *, digits: int = 1, scale: float = 100) -> str:
    """A number and the ends of its 95 % interval."""
    return f"{scale * value:.{digits}f} ({scale * low:.{digits}f} to {scale * high:.{digits}f})"


def by_category(d: ul.Dissection, layer: str) -> str:
    """Unique concepts of a layer's detectors, by category."""
    found = d[layer].detectors()
    counts = found.drop_duplicates(["category", "concept"])["category"].value_counts()
    return " / ".join(str(counts.get(category, 0)) for category in CATEGORIES)


def dissected(world: World) -> Iterator[Row]:
    """Figure 1: what units look for."""
    best = world.dissection[LAYER].detectors().iloc[0]
    yield Row(
        "1a, b",
        "One unit as a detector of its concept: balanced accuracy of its peak, on images that did not choose the level",
        f"unit {best['unit']} of {LAYER}, {best['concept']}: IoU {interval(*best[['iou', 'iou_low', 'iou_high']])} %, "
        f"balanced accuracy {100 * best['presence_accuracy']:.1f} %",
        "unit 150 of conv5_3, airplane: IoU 9.0 %, balanced accuracy 85.6 %",
    )
    table = world.dissection[LAYER].table()
    yield Row(
        "1c",
        "Concepts that units of the last layer match (object / part / material / color)",
        f"{LAYER}: {by_category(world.dissection, LAYER)}, by {int(table['detector'].sum())} of {len(table)} units "
        f"that are more than chance ({int(table['above_min_iou'].sum())} by the paper's rule alone)",
        "conv5_3: 51 / 22 / 12 / 8, of 512 units",
    )
    yield Row(
        "1d",
        "The same, layer by layer",
        "; ".join(f"{layer}: {by_category(world.dissection, layer)}" for layer in LAYERS),
        "conv5_1: 28 / 25 / 9 / 8; conv5_3: 51 / 22 / 12 / 8",
    )


def ablated(world: World) -> Iterator[Row]:
    """Figure 2: what units are used for."""
    few, many = 4, FIRST
    curve = ul.ablation_curve(world.net, LAYER, CLASS, world.data, top=many, draws=9, ranking=world.effects)
    rows = curve.paper_table(few=few).set_index("what")
    keep = {
        "unchanged": "unchanged",
        f"{few} most": f"{few} removed",
        f"{many} most": f"{many} removed",
        "only": "only these kept",
    }
    said = []
    for start, name in keep.items():
        row = rows[[what.startswith(start) for what in rows.index]].iloc[0]
        said.append(f"{name} {100 * row['balanced_accuracy']:.1f} (all classes {100 * row['accuracy']:.1f})")
    ranked = world.effects.most_important(CLASS, many)
    set_ = ul.ablate(world.net, LAYER, ranked, world.data, draws=39)
    row = set_.table().query("measure == 'balanced_accuracy'").set_index("class").loc[CLASS]
    yield Row(
        "2a-c",
        "Balanced accuracy of one class, and accuracy over all, with the most important of "
        f"{world.effects.units} units removed, in %",
        f"{CLASS}: {', '.join(said)}; effect of {many}: {interval(row['effect'], row['low'], row['high'])}",
        "ski resort: unchanged 81.4 (53.3), 4 removed 64.0 (53.2), 20 removed 53.5 (52.6), only these 20 of 512 kept "
        "77.7 (2.1)",
    )
    lost = []
    for class_ in world.effects.classes:
        first = world.effects.most_important(class_, many)
        effect = ul.ablate(world.net, LAYER, first, world.data, draws=0).overall("accuracy")
        lost.append(float(effect.effect))
    yield Row(
        "2d",
        f"Accuracy over all classes, with the {many} most important units of each class in turn removed, in %",
        f"{100 * pd.Series(lost).mean():+.1f} on average over {len(lost)} classes ({100 * min(lost):+.1f} to "
        f"{100 * max(lost):+.1f}); {many} are {many / world.effects.units:.0%} of the units",
        "53.3 to 53.0 on average over 365 classes; 20 are 4 % of the units",
    )
    served = classes_served(world.dissection[LAYER], world.effects)
    yield Row(
        "2e",
        "Units that matter to more classes match concepts better: rank correlation of IoU and classes served",
        interval(served.correlation, served.low, served.high, digits=2, scale=1),
        "shown as a figure, no number",
    )


def drawn(world: World) -> Iterator[Row]:
    """Figures 3 and 4: what a generator's units draw."""
    table = world.drawn.table()
    yield Row(
        "3a",
        "Concepts that units of a generator match (object / part / material / color)",
        f"{DRAWN_LAYER}: {by_category(world.drawn, DRAWN_LAYER)}, by {int(table['detector'].sum())} of {len(table)} "
        "units",
        "layer5 of a kitchen generator: 19 / 41 / 1 / 6",
    )
    best = ul.drawn_detectors(world.generator, DRAWN_LAYER, CONCEPT, world.latents).table().iloc[0]
    yield Row(
        "3b",
        "One unit's peak tells whether its concept is drawn: balanced accuracy in %",
        f"unit {int(best['unit'])}, {CONCEPT}: {interval(*best[['balanced_accuracy', 'low', 'high']])}",
        "a window unit: 78.2",
    )
    units = world.drawn.units_for(CONCEPT, FIRST)
    fresh = ul.with_concepts(ul.latents(96, 192, seed=1), ul.segmenter("bundled:scenes-segmenter"))
    removed = ul.intervene(world.generator, DRAWN_LAYER, units, fresh, draws=9)
    row = removed.table().set_index("concept").loc[CONCEPT]
    yield Row(
        "4a-c",
        f"{FIRST} units of highest IoU with {CONCEPT} removed: share of its area that is gone, in %",
        f"{interval(*row[['removed', 'removed_low', 'removed_high']])}, in images that did not choose them; these "
        f"{100 * row['effect']:+.1f} % of the image, random sets {100 * row['random_mean']:+.1f} on average",
        "53.3",
    )
    level = torch.from_numpy(table["threshold"].to_numpy("float32"))
    inserted = ul.insertion_map(
        world.generator, DRAWN_LAYER, units, CONCEPT, fresh, value=level, size=4, limit=96
    ).table()
    inserted = inserted[(inserted["places"] >= 40) & (inserted["before"] != CONCEPT)].sort_values(
        "appeared", ascending=False
    )
    yield Row(
        "4d-f",
        f"{FIRST} units of {CONCEPT} inserted at one place: how often it appears, by what stood there, in %",
        "; ".join(f"{r.before} {interval(r.appeared, r.low, r.high)}" for r in inserted.head(5).itertuples()),
        "doors appear on buildings, hardly ever on trees or sky",
    )


def attacked(world: World) -> Iterator[Row]:
    """Figure 5: what an attack does to units."""
    attack = ul.attack(world.net, world.dissection, world.data, CLASS, TARGET, layer=LAYER, interval=0.99, limit=None)
    units = attack.units().set_index("unit")
    falling = units.loc[list(world.effects.most_important(CLASS, 4, measure="logit", folds="all"))]
    rising = units.loc[list(world.effects.most_important(TARGET, 3, measure="logit", folds="all"))]
    said = [
        f"unit {row.Index} ({row.concept if row.verdict == 'detector' else 'no good label'}) "
        + interval(row.peak_change, row.peak_low, row.peak_high, scale=1)
        for row in (*falling.itertuples(), *rising.itertuples())
    ]
    yield Row(
        "5",
        f"PGD, {CLASS} to {TARGET}, within 8 / 255: change of the peak of the units that matter most to either class, "
        "with 99 % intervals",
        f"{attack.images} images, {100 * attack.rate.rate:.0f} % succeed; {', '.join(said[:4])}; {', '.join(said[4:])}",
        "C&W, 1,000 images: snow, mountain, house and tree units -53.2, -21.0, -19.8, -28.1; bed units +24.5 and "
        "+23.8, the head unit +43.5",
    )


PARTS: Sequence[Callable[[World], Iterator[Row]]] = (dissected, ablated, drawn, attacked)


def as_table(rows: Sequence[Row]) -> str:
    """The rows as a table of Markdown."""
    lines = ["| figure | shows | here | in the paper |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def replaced(text: str, table: str) -> str:
    """A page with another table between the two marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


@click.command()
@click.option("--images", default=1000, show_default=True, help="Drawn scenes for the classifier.")
@click.option("--latents", default=360, show_default=True, help="Latents for the generator.")
@click.option("--write", is_flag=True, help="Put the table into docs/paper.md.")
def main(images: int, latents: int, write: bool) -> None:
    """Measure all rows."""
    world, rows = make_world(images, latents), list[Row]()
    for part in PARTS:
        for row in part(world):
            click.echo(f"{row.figure}: {row.shows}\n    here: {row.ours}\n    paper: {row.papers}")
            rows.append(row)
    if write:
        write_whole(PAGE, replaced(PAGE.read_text(encoding="utf-8"), as_table(rows)))


if __name__ == "__main__":
    main()
