"""`unitlens explain`."""

from pathlib import Path
from typing import Any

import click

from unitlens.cli.classes import GivenClasses, class_options
from unitlens.cli.explaining.once import explain_once
from unitlens.cli.options import basis_option, fast_option, given_value, measuring_options, quiet_option
from unitlens.cli.shell.command import command
from unitlens.cli.targets import Source
from unitlens.cli.text import align_columns, format_cell
from unitlens.errors import UnitlensError

FEW = 12
"""So many sentences are printed."""


@command(first=("class_", "top", "of_class", "errors", "layers", "data", "weights", "limit", "out"))
@click.argument("target", metavar="RUN")
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option("--layer", "layers", multiple=True, metavar="NAME", help="The layer. [the run's]")
@click.option("--images-of", "of_class", metavar="CLASS", help="Images of this class, in place of IMAGE.")
@click.option("--class", "class_", metavar="NAME", help="The class that is followed. [the predicted one of each image]")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="So many first units together.")
@click.option(
    "--most",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="Look for the smallest set of at most so many units that changes the prediction; 0: do not.",
)
@click.option("--value", default="0", show_default=True, metavar="V", help="Set units to a number, or to their mean.")
@click.option(
    "--attribution",
    "attributions",
    multiple=True,
    metavar="METHOD",
    help="captum's, to compare with; repeatable. [activation_x_gradient]",
)
@click.option(
    "--errors", is_flag=True, help="In place of IMAGE: all images that are classified wrongly, by pairs of classes."
)
@click.option("--pairs", type=click.IntRange(1), default=12, show_default=True, help="With --errors: so many pairs.")
@basis_option
@class_options
@measuring_options
@fast_option
@quiet_option
def explain(target: str, images: tuple[str, ...], **options: Any) -> None:
    """Explain predictions: what units and concepts do to the answer for single images.

    RUN is the folder of a run. IMAGE is an image file from anywhere, or the name of an image of the run's data set (as
    in exemplars.csv); without any, --images-of names a class, and --limit takes some of all.
    """
    from unitlens.pages.writing import CONFUSIONS, EXPLANATION

    chosen = [way for way, given in _ways(images, options).items() if given]
    if len(chosen) > 1:
        raise UnitlensError(f"{' and '.join(chosen)} both choose images: give one of the two.")
    page, what = (CONFUSIONS, "explained errors") if options["errors"] else (EXPLANATION, "explanations")

    def compute(source: Source) -> Any:
        return _confusions(source, options) if options["errors"] else _explanations(images, source, options)

    explain_once(
        target,
        options,
        GivenClasses.of(options),
        compute,
        _summarize,
        page=page,
        what=what,
        packages=("captum",),
    )


def _ways(images: tuple[str, ...], options: dict[str, Any]) -> dict[str, bool]:
    """How images can be chosen, and which of these ways were taken."""
    return {
        "IMAGE": bool(images),
        "--images-of": options["of_class"] is not None,
        "--errors": options["errors"],
    }


def _explanations(images: tuple[str, ...], source: Source, options: dict[str, Any]) -> Any:
    from unitlens.explaining.images import FEW_ATTRIBUTIONS, explain

    reading = source.reading(options)
    return explain(
        source.net,
        source.dissection,
        _chosen(images, source),
        layer=source.layers[0],
        class_=options["class_"],
        of_class=options["of_class"],
        top=options["top"],
        most=options["most"],
        value=given_value(options["value"]),
        basis=source.basis,
        data=source.data,
        attributions=options["attributions"] or FEW_ATTRIBUTIONS,
        limit=None if images else reading.limit,
        seed=reading.seed,
        strict=reading.strict,
        fast=options["fast"] or False,
        progress=reading.progress,
    )


def _confusions(source: Source, options: dict[str, Any]) -> Any:
    from unitlens.explaining.confused_pairs import confusions

    reading = source.reading(options)
    return confusions(
        source.net,
        source.dissection,
        source.data,
        layer=source.layers[0],
        pairs=options["pairs"],
        value=given_value(options["value"]),
        basis=source.basis,
        groups=options["groups"],
        limit=reading.limit,
        batch_size=reading.batch_size,
        workers=reading.workers,
        seed=reading.seed,
        strict=reading.strict,
        fast=options["fast"] or False,
        progress=reading.progress,
    )


def _summarize(result: Any) -> str:
    """Return sentences, or the concept that pulls most of each pair."""
    from unitlens.explaining.explanation import Explanations
    from unitlens.explaining.sentences import sentence

    if isinstance(result, Explanations):
        said = [f"{one.image}: {sentence(one, result.labelled, result.classes)}" for one in result.images[:FEW]]
        more = [f"... and {len(result) - FEW} more images"] if len(result) > FEW else []
        return "\n".join([*said, *more])
    first = result.table().groupby(["class", "predicted"], sort=False).first().reset_index()
    columns = ["class", "predicted", "images", "concept", "units", "pull", "low", "high", "right_pull", "repaired"]
    cells = [tuple(format_cell(value)[:24] for value in row) for row in first[columns].itertuples(index=False)]
    return f"{repr(result)[1:-1]}\n{align_columns([tuple(columns), *cells])}"


def _chosen(images: tuple[str, ...], source: Source) -> Any:
    """Image files, images of the run's data by their names, or all of these."""
    from unitlens.data.readers.given import given_images, images_of

    files = [image for image in images if Path(image).is_file()]
    if not images:
        return source.data
    if len(files) == len(images):
        return given_images([Path(image) for image in images])
    if files:
        other = next(image for image in images if image not in files)
        raise UnitlensError(
            f"{files[0]} is a file and {other} is not: give files, or names of images of the data set, not both."
        )
    return images_of(source.data, names=images)
