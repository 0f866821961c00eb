"""`unitlens plan`."""

from typing import Any

import click

from unitlens.cli.opening import load_network, open_images, set_threads, take_basis, take_data_options, worker_count
from unitlens.cli.options import dissection_options, image_options, layer_option, network_options, source_options
from unitlens.cli.shell.command import command
from unitlens.cli.shell.completion import BUNDLED, words
from unitlens.cli.shell.values import Bytes
from unitlens.cli.text import align_columns, echo
from unitlens.errors import UnitlensError, is_number
from unitlens.plurals import counted


class Counts(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """Whole numbers such as 1,8,64."""

    name = "N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read them."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if not all(is_number(part) and int(part) >= 1 for part in parts):
            self.fail(f"{value!r} is not numbers of processes such as 1,8,64", param, ctx)
        return tuple(map(int, parts))


@command(first=("layers", "data", "weights", "limit", "concepts", "control", "device", "preset"))
@click.argument("model", shell_complete=words(*BUNDLED, files=True))
@layer_option
@image_options
@source_options
@dissection_options
@network_options
@click.option("--images", type=click.IntRange(1), metavar="N", help="As if there were N such images.")
@click.option(
    "--processes", type=Counts(), metavar="P,...", help="Over how many processes it is dealt, such as 1,8,64."
)
@click.option(
    "--rate",
    "rates",
    multiple=True,
    metavar="NAME=N",
    help="What one process does in a second, in place of what is measured here; repeatable: forward, decode (images), "
    "count (images of one unit), disk, network (bytes).",
)
def plan(
    model: str,
    layers: tuple[str, ...],
    data: str | None,
    images: int | None,
    processes: tuple[int, ...] | None,
    rates: tuple[str, ...],
    **options: Any,
) -> None:
    """Estimate what a dissection takes: time, memory and disk.

    One batch of images is measured for that. MODEL and the options are those of `unitlens dissect`, and --concepts 1200
    stands for 1,200 concepts like those that are there.
    """
    from unitlens.dissection.planning import plan as estimate

    set_threads(options.pop("threads"))
    workers = worker_count(options.pop("workers"))
    numbers = [name for name in options["concepts"] if is_number(name)]
    options["concepts"] = tuple(name for name in options["concepts"] if name not in numbers)
    opened, options["basis"] = take_data_options(options), take_basis(options)
    net = load_network(model, options)
    latents = options.pop("latents")
    there = open_images(model, data, options["limit"], options["seed"], net=net, latents=latents, **opened)
    # `unitlens dissect` keeps its passes in the folder of the run until that is written
    planned = estimate(
        net,
        list(layers) or None,
        there.data,
        images=images,
        concepts=int(numbers[-1]) if numbers else None,
        processes=processes or 1,
        rates=dict(map(_rate, rates)),
        workers=workers,
        checkpoint="run",
        **options,
    )
    echo(plan_lines(planned, store_limit=options["store_limit"]))
    if images is not None or processes is not None or rates:
        echo("\n" + scale_lines(planned))


def _rate(text: str) -> tuple[str, float]:
    """Read NAME=N, where N may be a number of bytes such as 2GB."""
    name, _, number = text.partition("=")
    try:
        return name, float(Bytes().convert(number, None, None))
    except click.BadParameter:
        raise UnitlensError(
            f"--rate is {text!r}; it is a name and a number, such as forward=2500 or disk=2GB."
        ) from None


def scale_lines(planned: Any) -> str:
    """What a plan says of each number of processes, and the rates that this follows from, as lines of text."""
    from unitlens.dissection.store.limit import in_bytes

    header = ("processes", "time", "passes", "counts", "waiting for disk", "end", "memory", "on disk")
    rows: list[tuple[str, ...]] = [(*header, "written", "read", "sent")]
    for scale in planned.scales:
        times = (scale.seconds, scale.looking, scale.counting, scale.reading, scale.gathering)
        sizes = (scale.disk, scale.written, scale.read, scale.sent)
        memory = "not known" if scale.memory is None else in_bytes(scale.memory)
        rows.append((str(scale.processes), *map(_duration, times), memory, *map(in_bytes, sizes)))
    rates = planned.rates
    said = [
        f"{rates.forward:,.0f} images through the network",
        f"{rates.decode:,.0f} images decoded",
        f"{rates.count:,.0f} images counted of one unit",
        f"{in_bytes(rates.disk)} of disk",
        f"{in_bytes(rates.network)} of network",
    ]
    return f"{align_columns(rows)}\na second, in each process: {', '.join(said)}"


def plan_lines(planned: Any, *, store_limit: int | None = None) -> str:
    """A plan as lines of text."""
    from unitlens.dissection.store.limit import in_bytes

    layers = [
        (f"layer {layer.name}", f"{counted(layer.units, 'unit')}, {_size(layer.grid) if layer.grid else 'no grid'}")
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
        return f"{max(1, round(seconds))} s" if seconds else "0 s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h" if seconds < 3600 * 100 else f"{seconds / 86400:,.0f} days"
