"""`unitlens figures`."""

from pathlib import Path
from typing import Any

import click

from unitlens.cli.results.originals import full_size_options, opened_originals
from unitlens.cli.shell.command import command
from unitlens.cli.text import echo


@command(first=("out", "formats", "columns", "units", "images", "full_size", "style", "overwrite"))
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Folder for them. [RUN-figures]")
@click.option(
    "--format",
    "formats",
    type=click.Choice(["pdf", "svg", "png"]),
    multiple=True,
    default=("pdf",),
    show_default=True,
    help="Kind of file; repeatable.",
)
@click.option("--columns", type=click.IntRange(1, 2), help="How many columns of a paper each is wide. [as it is drawn]")
@click.option(
    "--units", type=click.IntRange(0), default=8, show_default=True, metavar="N", help="Units shown with their images."
)
@click.option(
    "--images", type=click.IntRange(1), metavar="N", help="Images of each of these units. [all that the run keeps]"
)
@click.option("--style", metavar="NAME", help="A style of matplotlib, such as ggplot.")
@click.option("--overwrite", is_flag=True, help="Replace figures that are there.")
@full_size_options
def figures(run: Path, out: Path | None, images: int | None, **options: Any) -> None:
    """Write the figures of a saved run for a paper: concepts, units with their images, effects, and what units draw."""
    from unitlens.dissection.exemplars.originals import LARGEST, redrawn
    from unitlens.pages.plots.files import write_figures

    originals = opened_originals(run, options)
    if originals is not None:
        options["redraw"] = lambda layer, units, size: redrawn(
            layer, units, **originals._asdict(), size=min(size, LARGEST), images=images
        )
    folder = run.resolve()  # of "." too, which has no name
    for path in write_figures(run, out or folder.with_name(f"{folder.name}-figures"), images=images, **options):
        echo(f"wrote {path}")
