"""`unitlens plan`."""

from typing import Any

import click

from unitlens.cli.opening import load_network, open_images, set_threads, take_data_options, worker_count
from unitlens.cli.options import Size, image_options, network_options, source_options
from unitlens.cli.text import align_columns


@click.command()
@click.argument("model")
@click.option("--layer", "layers", multiple=True, metavar="NAME", help="Repeatable.")
@image_options
@source_options
@click.option("--preset", default="unitlens", show_default=True, help="unitlens, pnas2020 or netdissect2017.")
@click.option("--quantile", type=float, help="Share of positions above a unit's threshold. [0.01]")
@click.option("--grid", type=Size(), help="Label grid. [a quarter of the input]")
@click.option("--layout", help="How the layers are laid out, as docs/layouts.md has it. [found by its rule]")
@click.option("--basis", metavar="FILE", help="Directions as units: rows of a matrix (.npy, .safetensors, .pt).")
@click.option("--evidence/--no-evidence", default=True, show_default=True, help="Intervals, held-out checks, chance.")
@click.option("--exemplars", type=click.IntRange(0), default=8, show_default=True, metavar="K", help="Images a unit.")
@network_options
def plan(model: str, layers: tuple[str, ...], data: str | None, **options: Any) -> None:
    """Say what a dissection would take, before it is run: a few batches of it are tried for that."""
    from unitlens.dissection.planning import plan as make

    set_threads(options.pop("threads"))
    workers = worker_count(options.pop("workers"))
    opened, net = take_data_options(options), load_network(model, options)
    images = open_images(model, data, options["limit"], options["seed"], **opened)
    click.echo(lines(make(net, list(layers) or None, images, workers=workers, **options), options["batch_size"]))


def lines(made: Any, batch_size: int) -> str:
    """A plan as lines of text."""
    from unitlens.dissection.forward import in_bytes

    layers = [
        (f"layer {layer.name}", f"{layer.units} units, {_by(layer.grid) if layer.grid else 'no grid'}")
        for layer in made.layers
    ]
    crowded = "" if made.disk <= made.free // 2 else ", more than half of it, which --store-limit would have to allow"
    rows = [
        *layers,
        ("concepts", f"{made.concepts} in {made.categories} {'category' if made.categories == 1 else 'categories'}"),
        ("label grid", _by(made.grid)),
        ("images", f"{made.images}, each shown to the network once"),
        ("forward passes", f"{made.batches}, of {min(batch_size, made.images)} images at most"),
        ("time", f"about {_spoken(made.seconds)} on this machine, from {made.sample} images"),
        ("memory", "not known here" if made.memory is None else f"about {in_bytes(made.memory)}, workers aside"),
        ("disk", f"{in_bytes(made.disk)} while it runs, of {in_bytes(made.free)} that are free{crowded}"),
    ]
    return align_columns(rows)


def _by(grid: tuple[int, int]) -> str:
    return f"{grid[0]}x{grid[1]}"


def _spoken(seconds: float) -> str:
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
