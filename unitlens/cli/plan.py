"""`unitlens plan`."""

from typing import Any

import click

from unitlens.cli.opening import load_network, open_images, set_threads, take_data_options, worker_count
from unitlens.cli.options import dissection_options, image_options, layer_option, network_options, source_options
from unitlens.cli.text import align_columns, echo


@click.command()
@click.argument("model")
@layer_option
@image_options
@source_options
@dissection_options
@network_options
def plan(model: str, layers: tuple[str, ...], data: str | None, **options: Any) -> None:
    """Estimate what a dissection takes: time, memory and disk.

    One batch of images is measured for that. MODEL and the options are those of `unitlens dissect`.
    """
    from unitlens.dissection.planning import plan as estimate

    set_threads(options.pop("threads"))
    workers = worker_count(options.pop("workers"))
    opened, net = take_data_options(options), load_network(model, options)
    latents = options.pop("latents")
    images = open_images(model, data, options["limit"], options["seed"], net=net, latents=latents, **opened)
    # `unitlens dissect` keeps its passes in the folder of the run until that is written
    planned = estimate(net, list(layers) or None, images.data, workers=workers, checkpoint="run", **options)
    echo(plan_lines(planned, store_limit=options["store_limit"]))


def plan_lines(planned: Any, *, store_limit: int | None = None) -> str:
    """A plan as lines of text."""
    from unitlens.dissection.forward import in_bytes

    layers = [
        (f"layer {layer.name}", f"{layer.units} units, {_size(layer.grid) if layer.grid else 'no grid'}")
        for layer in planned.layers
    ]
    allowed = planned.free // 2 if store_limit is None else store_limit
    refused = "" if planned.disk <= allowed else f", and only {in_bytes(allowed)} are allowed: raise --store-limit"
    passes = "once" if planned.passes == 1 else f"{planned.passes} times"
    memory = "not known here" if planned.memory is None else f"at most {in_bytes(planned.memory)}, without workers"
    rows = [
        *layers,
        ("concepts", f"{planned.concepts} in {_counted(planned.categories, 'category', 'categories')}"),
        ("label grid", _size(planned.grid)),
        ("images", f"{planned.images}, each shown to the network {passes}"),
        ("time", f"about {_duration(planned.seconds)} on this machine, from {planned.sample} images"),
        ("memory", memory),
        ("disk", f"{in_bytes(planned.disk)} while it runs, of {in_bytes(planned.free)} that are free{refused}"),
    ]
    return align_columns(rows)


def _size(grid: tuple[int, int]) -> str:
    return f"{grid[0]}x{grid[1]}"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
