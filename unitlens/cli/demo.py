"""`unitlens demo`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from unitlens.cli.opening import worker_count
from unitlens.cli.options import quiet_option
from unitlens.cli.text import curve_table, echo, summarize, unit_table

if TYPE_CHECKING:
    from unitlens.ablation.measurement import Measurement

CLASSES = ("ski_slope", "bedroom")
"""Those whose units are ablated; with few images, others that have some to rank and to measure by."""

ATTRIBUTED = 24
"""Images that captum's attributions are compared with exact effects on: few, as each takes 50 passes."""


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("unitlens-demo"), show_default=True)
@click.option("--images", type=click.IntRange(32), default=1000, show_default=True, help="Number of scenes drawn.")
@quiet_option
def demo(out: Path, images: int, quiet: bool) -> None:
    """Dissect the bundled network on bundled scenes, ablate the units of two classes, and write the report."""
    from unitlens.ablation.attribution import measure_agreement
    from unitlens.ablation.curves import Draws, curves_of
    from unitlens.ablation.effects import Experiment
    from unitlens.ablation.interventions import Replacement
    from unitlens.ablation.outcomes import DEFAULT_MEASURES
    from unitlens.data.reading import Reading
    from unitlens.data.scenes.world import Scenes
    from unitlens.dissection.files import check_free
    from unitlens.dissection.run import dissect as run
    from unitlens.models.loading import load
    from unitlens.pages.writing import report

    check_free(out, overwrite=True)
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
    page = report(out, result, *curves, agreement=agreement, overwrite=True)
    if not quiet:
        echo(unit_table(result, rows=10))
        echo(summarize(result))
        for curve in curves:
            echo(curve_table(curve))
        echo(f"open {page}")


def classes_in_both_halves(measured: "Measurement") -> list[str]:
    """Two classes with images in the even folds, which rank units, and in the odd ones, which measure them."""
    even, odd = measured.counted("even").images, measured.counted("odd").images
    names = [name for name, *images in zip(measured.outputs.names, even, odd, strict=True) if all(images)]
    return sorted(names, key=lambda name: name not in CLASSES)[: len(CLASSES)]
