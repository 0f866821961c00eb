"""`unitlens units`."""

from pathlib import Path

import click

from unitlens.cli.shell.command import command
from unitlens.cli.shell.completion import concepts_of_run, layers_of_run
from unitlens.cli.text import echo, unit_table


@command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--concept",
    shell_complete=concepts_of_run,
    help="The units of highest IoU with this concept, whether or not they are matched to it.",
)
@click.option("--layer", shell_complete=layers_of_run, help="Only units of this layer.")
@click.option("--sort", default="iou", show_default=True, help="Any column of units.csv.")
@click.option("-n", "--rows", type=click.IntRange(1), help="Print at most this many rows. [all]")
def units(run: Path, concept: str | None, layer: str | None, sort: str, rows: int | None) -> None:
    """Print the units of a saved run as a table."""
    from unitlens.dissection.result import open_run

    result = open_run(run)
    echo(unit_table(result[layer] if layer else result, concept=concept, sort=sort, rows=rows))
