"""`unitlens figures`."""

from pathlib import Path
from typing import Any

import click

from unitlens.cli.shell.command import command
from unitlens.cli.text import echo


@command()
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
@click.option("--style", metavar="NAME", help="A style of matplotlib, such as ggplot.")
@click.option("--overwrite", is_flag=True, help="Replace figures that are there.")
def figures(run: Path, out: Path | None, **options: Any) -> None:
    """Write the figures of a saved run for a paper: concepts, units with their images, effects, and what units draw."""
    from unitlens.pages.plots.files import write_figures

    folder = run.resolve()  # of "." too, which has no name
    for path in write_figures(run, out or folder.with_name(f"{folder.name}-figures"), **options):
        echo(f"wrote {path}")
