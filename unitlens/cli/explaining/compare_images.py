"""`unitlens compare-images`."""

from pathlib import Path
from typing import Any

import click

from unitlens.cli.classes import GivenClasses, class_options
from unitlens.cli.explaining.once import explain_once
from unitlens.cli.options import basis_option, measuring_options, quiet_option
from unitlens.cli.shell.command import command
from unitlens.cli.targets import Source
from unitlens.cli.text import summarize_changes


@command("compare-images", first=("layers", "interval", "data", "weights", "out"))
@click.argument("target", metavar="RUN")
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option("--layer", "layers", multiple=True, metavar="NAME", help="The layer. [the run's]")
@click.option(
    "--interval",
    type=click.Choice(["0.95", "0.99"]),
    default="0.95",
    show_default=True,
    help="How sure intervals over pairs are.",
)
@basis_option
@class_options
@measuring_options
@quiet_option
def compare_images(target: str, before: Path, after: Path, **options: Any) -> None:
    """Find the units that change between images in pairs: before and after an attack, an edit, a filter.

    RUN is the folder of a run. BEFORE and AFTER are two image files, or two folders whose files are paired by their
    names.
    """
    from unitlens.pages.writing import PAIRS

    explain_once(
        target,
        options,
        GivenClasses.of(options),
        lambda source: _compared(source, before, after, options),
        summarize_changes,
        page=PAIRS,
        what="changes",
        read=(before, after),
    )


def _compared(source: Source, before: Path, after: Path, options: dict[str, Any]) -> Any:
    from unitlens.explaining.pairs.image_pairs import compare_images as compare

    reading = source.reading(options)
    return compare(
        source.net,
        source.dissection,
        before,
        after,
        layer=source.layers[0],
        basis=source.basis,
        groups=options["groups"],
        interval=float(options["interval"]),
        batch_size=reading.batch_size,
        workers=reading.workers,
        strict=reading.strict,
        progress=reading.progress,
    )
