"""`unitlens demo`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unitlens.cli.opening import GENERATOR, open_images, worker_count
from unitlens.cli.options import quiet_option
from unitlens.cli.shell.command import command
from unitlens.cli.text import curve_table, echo, summarize, unit_table

if TYPE_CHECKING:
    from unitlens.ablation.measurement import Measurement

CLASSES = ("ski_slope", "bedroom")
"""Those whose units are ablated; with few images, others that have some to rank and to measure by."""

ATTRIBUTED = 24
"""Images that captum's attributions are compared with exact effects on: few, as each takes 50 passes."""

CONCEPT = "tree"
"""Whose units are removed from and inserted into what the generator draws."""

IMAGES, DRAWN = 1000, 400
"""How many images, of the classifier and of the generator."""

REMOVED, EDITED, DRAWN_SETS, SHOWN = 20, 150, 4, 8
"""Units removed and inserted together, images that this is measured on, sets to compare with, and images shown."""


@command()
@click.option("--generator", is_flag=True, help="Dissect the bundled generator instead: what do its units draw?")
@click.option("--out", type=click.Path(path_type=Path), default=Path("unitlens-demo"), show_default=True)
@click.option(
    "--images",
    type=click.IntRange(32),
    help=f"Number of scenes drawn. [{IMAGES}; with --generator {DRAWN}]",
)
@quiet_option
def demo(out: Path, images: int | None, generator: bool, quiet: bool) -> None:
    """Dissect the bundled network on bundled scenes, ablate the units of two classes, and write the report.

    With --generator: dissect the bundled generator on what it draws, remove and insert the units of one concept, and
    write the report.
    """
    from unitlens.dissection.files import check_free

    check_free(out, overwrite=True)
    if generator:
        _generator(out, DRAWN if images is None else images, quiet=quiet)
    else:
        _classifier(out, IMAGES if images is None else images, quiet=quiet)


def _classifier(out: Path, images: int, *, quiet: bool) -> None:
    from unitlens.ablation.attribution import measure_agreement
    from unitlens.ablation.curves import Draws, curves_of
    from unitlens.ablation.experiment import Experiment
    from unitlens.ablation.interventions import Replacement
    from unitlens.ablation.outcomes.measures import DEFAULT_MEASURES
    from unitlens.data.reading import Reading
    from unitlens.data.scenes.pairs import ScenePairs
    from unitlens.data.scenes.world import Scenes
    from unitlens.dissection.run import dissect as run
    from unitlens.explaining.pairs.causal_labels_result import describe_shares
    from unitlens.explaining.pairs.minimal_pairs import causal_labels, usual_pairs
    from unitlens.models.loading import load
    from unitlens.pages.writing import report

    workers = worker_count(None)
    net, data = load("bundled:scenes"), Scenes(images)
    result = run(net, None, data, workers=workers, progress=not quiet)
    experiment = Experiment.of(
        net,
        result.layers[0],
        data,
        replacement=Replacement(),
        measures=DEFAULT_MEASURES,
        reading=Reading(workers=workers, progress=not quiet),
    )
    ranking = experiment.unit_effects()
    curves = curves_of(experiment, classes_in_both_halves(ranking.measured), Draws((4, 20), 4), ranking=ranking)
    agreement = measure_agreement(experiment, images=ATTRIBUTED)
    pairs = usual_pairs(result)
    labels = [causal_labels(net, result, ScenePairs(pairs), workers=workers, progress=not quiet)] if pairs else []
    page = report(out, result, *curves, *labels, agreement=agreement, overwrite=True)
    if not quiet:
        echo(unit_table(result, rows=10))
        echo(summarize(result))
        for curve in curves:
            echo(curve_table(curve))
        for tested in labels:
            echo(f"minimal pairs: {describe_shares(tested.rows)}")
        echo(f"open {page}")


def _generator(out: Path, images: int, *, quiet: bool) -> None:
    import torch

    from unitlens.cli.editing.summaries import summarize_intervention
    from unitlens.data.reading import Reading
    from unitlens.dissection.run import dissect as run
    from unitlens.editing.experiment import AreaExperiment
    from unitlens.editing.set_areas import measure_set
    from unitlens.models.loading import load
    from unitlens.pages.writing import report

    net = load(GENERATOR)
    drawn = open_images(GENERATOR, None, images, 0, net=net)
    result = run(net, None, drawn.data, progress=not quiet)
    result.info["data"] |= drawn.recorded  # so that `unitlens intervene` draws the same images again
    layer = result.layers[0]
    reading = Reading(limit=min(images, EDITED), progress=not quiet)
    experiment = AreaExperiment.of(net, layer, drawn.data, None, reading=reading)
    units = experiment.units(result.units_for(CONCEPT, REMOVED))
    thresholds = torch.from_numpy(result.table()["threshold"].to_numpy("float32"))
    measure = partial(measure_set, experiment, units, draws=DRAWN_SETS, chosen_for=CONCEPT, examples=SHOWN)
    removed = measure(value=0.0)
    inserted = measure(value=thresholds, change="set to their thresholds")
    page = report(out, result, removed, inserted, overwrite=True)
    if not quiet:
        echo(unit_table(result, rows=10))
        echo(summarize(result))
        echo(f"the {REMOVED} units of highest IoU with {CONCEPT}, removed and inserted:")
        echo(summarize_intervention(removed))
        echo(summarize_intervention(inserted))
        echo(f"open {page}")


def classes_in_both_halves(measured: "Measurement") -> list[str]:
    """Two classes with images in the even folds, which rank units, and in the odd ones, which measure them."""
    even, odd = measured.counted("even").images, measured.counted("odd").images
    names = [name for name, *images in zip(measured.outputs.names, even, odd, strict=True) if all(images)]
    return sorted(names, key=lambda name: name not in CLASSES)[: len(CLASSES)]
