"""`unitlens layers`, `units` and `report`: look at a network, or at a run again."""

from pathlib import Path
from typing import Any

import click

from unitlens.cli.options import network_options
from unitlens.cli.text import aligned, load_network, unit_lines


@click.command()
@click.argument("model")
@network_options
def layers(model: str, **options: Any) -> None:
    """List every layer of a network in forward order: kind, output shape, units, grid, and layout if it is unusual."""
    infos = load_network(model, options).layers()
    rows = [("layer", "kind", "output", "units", "grid")]
    for info in infos:
        shape = "x".join(map(str, info.shape)) if info.shape else ("not reached" if info.shape is None else "a number")
        grid = "x".join(map(str, info.grid)) if info.grid else ""
        if info.layout not in (None, "units", "channels_first"):
            grid = f"{grid} {info.layout}".strip()
        rows.append((info.name, info.kind, shape, str(info.units or ""), grid))
    click.echo(aligned(rows))


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--concept", help="Units of highest IoU with this concept, whether or not it is their label.")
@click.option("--layer", help="Of this layer alone.")
@click.option("--sort", default="iou", show_default=True, help="Any column of units.csv.")
@click.option("-n", "--rows", type=click.IntRange(1), help="Only so many rows.")
def units(run: Path, concept: str | None, layer: str | None, sort: str, rows: int | None) -> None:
    """Print the table of a run."""
    from unitlens.dissection.result import open_run

    result = open_run(run)
    click.echo(unit_lines(result[layer] if layer else result, concept=concept, sort=sort, rows=rows))


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
def report(run: Path) -> None:
    """Make the page of a saved run again, without images or network."""
    from unitlens.pages.writing import write_page

    click.echo(f"wrote {write_page(run)}")
