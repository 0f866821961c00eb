"""`unitlens layers`."""

from typing import Any

import click

from unitlens.cli.opening import load_network
from unitlens.cli.options import network_options
from unitlens.cli.shell.command import command
from unitlens.cli.shell.completion import BUNDLED, words
from unitlens.cli.text import align_columns, echo


@command(first=("weights", "image_size", "mean", "std"))
@click.argument("model", shell_complete=words(*BUNDLED, files=True))
@network_options
def layers(model: str, **options: Any) -> None:
    """List every layer of a network in forward order: kind, output shape, units, grid, and layout if it is unusual.

    MODEL is named as for `unitlens dissect`: a file or package that is named is run. Weights do not matter for it:
    without --weights none are looked for.
    """
    from unitlens.models.loading import origin

    if options["weights"] is None and origin(model) in ("torchvision", "timm"):
        options["weights"] = "none"
    rows = [("layer", "kind", "output", "units", "grid")]
    for layer in load_network(model, options).layers():
        rows.append((layer.name, layer.kind, _output(layer.shape), str(layer.units or ""), _grid(layer)))
    echo(align_columns(rows))


def _output(shape: tuple[int, ...] | None) -> str:
    if shape is None:
        return "not reached"
    return "x".join(map(str, shape)) or "a number"


def _grid(layer: Any) -> str:
    grid = "x".join(map(str, layer.grid)) if layer.grid else ""
    usual = layer.layout in (None, "units", "channels_first")
    return grid if usual else f"{grid} {layer.layout}".strip()
