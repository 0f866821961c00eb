"""`unitlens dissect`."""

from pathlib import Path
from typing import Any

import click

from unitlens.cli.opening import (
    load_network,
    open_images,
    set_threads,
    take_data_options,
    without_download,
    worker_count,
)
from unitlens.cli.options import (
    Bytes,
    Size,
    image_options,
    network_options,
    output_options,
    quiet_option,
    source_options,
)
from unitlens.cli.text import summarize


@click.command()
@click.argument("model")
@click.option(
    "--layer", "layers", multiple=True, metavar="NAME", help="Repeatable; `unitlens layers MODEL` lists them."
)
@image_options
@source_options
@output_options
@click.option("--preset", default="unitlens", show_default=True, help="unitlens, pnas2020 or netdissect2017.")
@click.option("--quantile", type=float, help="Share of positions above a unit's threshold. [0.01]")
@click.option("--min-iou", type=float, help="The papers' rule for a match. [0.04]")
@click.option("--grid", type=Size(), help="Label grid. [a quarter of the input]")
@click.option("--upsampling", type=click.Choice(["edges", "zeros"]), help="What lies outside of a map.")
@click.option(
    "--tap", type=click.Choice(["output", "after_inplace"]), help="The activation: returned, or left in memory."
)
@click.option("--layout", help="How the layers are laid out, as docs/layouts.md has it. [found by its rule]")
@click.option("--basis", metavar="FILE", help="Directions as units: rows of a matrix (.npy, .safetensors, .pt).")
@click.option("--score", default="iou", show_default=True, help="What chooses the label.")
@click.option("--evidence/--no-evidence", default=True, show_default=True, help="Intervals, held-out checks, chance.")
@click.option("--fdr", type=float, default=0.05, show_default=True, help="False discovery rate of the verdict.")
@click.option("--levels", is_flag=True, help="Also count at several levels: AUPRC, AUROC, correlation.")
@click.option(
    "--control", multiple=True, metavar="NAME", help="Repeatable: untrained (fresh weights), rotated (random basis)."
)
@click.option("--exemplars", type=click.IntRange(0), default=8, show_default=True, metavar="K", help="Images a unit.")
@click.option("--store-limit", type=Bytes(), help="Most that may wait on disk. [half of what is free]")
@click.option("--fast", is_flag=True, help="Compute faster at other rounding; the deviation is stated in run.json.")
@network_options
@quiet_option
def dissect(model: str, layers: tuple[str, ...], data: str | None, out: Path, overwrite: bool, **options: Any) -> None:
    """Match every unit of a network's layers against the concepts that are marked in images.

    MODEL is resnet18, torchvision.models:resnet18, timm:NAME, hf:NAME_OR_FOLDER, package.module:callable,
    path/to/file.py:callable or bundled:scenes.
    """
    from unitlens.dissection.files import check_free
    from unitlens.dissection.run import dissect as run
    from unitlens.pages.writing import report

    check_free(out, overwrite=overwrite)
    set_threads(options.pop("threads"))
    quiet, workers = options.pop("quiet"), worker_count(options.pop("workers"))
    opened, net = take_data_options(options), load_network(model, options)
    result = run(
        net,
        list(layers) or None,
        open_images(model, data, options["limit"], options["seed"], **opened),
        workers=workers,
        progress=not quiet,
        **options,
    )
    result.info["command"] = click.get_current_context().obj
    if opened:
        result.info["data"] |= {"source": data or model, "opened": without_download(opened)}
    page = report(out, result, overwrite=overwrite)
    if not quiet:
        click.echo(summarize(result))
        click.echo(f"wrote {out}/: {page.name} to look at, units.csv to compute with")
