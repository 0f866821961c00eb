"""`unitlens fit`."""

from pathlib import Path
from typing import Any

import click

from unitlens.cli.opening import set_threads, worker_count
from unitlens.cli.options import (
    image_options,
    network_options,
    quiet_option,
    source_options,
    trust_options,
)
from unitlens.cli.shell.command import command
from unitlens.cli.shell.completion import BUNDLED, layers_of_run, words
from unitlens.cli.targets import kept_run, layers_of, source_of
from unitlens.cli.text import echo
from unitlens.errors import UnitlensError


@command(first=("layer", "method", "count", "data", "weights", "out", "overwrite", "positions", "steps", "limit"))
@click.argument("target", metavar="RUN|NETWORK", shell_complete=words(*BUNDLED, files=True))
@click.option(
    "--layer",
    metavar="NAME",
    shell_complete=layers_of_run,
    help="The layer. [that of the run; the network's default]",
)
@click.option(
    "--method",
    default="nmf",
    show_default=True,
    metavar="METHOD",
    shell_complete=words("nmf", "pca", "topk:8"),
    help="nmf, pca, or topk:K: a sparse autoencoder of which K features are active at a position.",
)
@click.option("--count", type=click.IntRange(1), default=64, show_default=True, help="How many features.")
@click.option(
    "--positions",
    type=click.IntRange(1),
    default=100_000,
    show_default=True,
    help="Fit to so many positions at most, as many of each image.",
)
@click.option(
    "--steps", type=click.IntRange(1), default=2000, show_default=True, help="Of training, of an autoencoder."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("features.safetensors"),
    show_default=True,
    metavar="FILE",
    help="Where the dictionary is written.",
)
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@image_options
@source_options
@network_options
@trust_options
@quiet_option
def fit(target: str, layer: str | None, out: Path, overwrite: bool, **options: Any) -> None:
    """Fit a dictionary of features to a layer, for `unitlens dissect --features`.

    Of a run that kept its activations (--keep-activations) no image is shown to the network again; else one pass is
    made over its images, or over those of --data. Features fit best the images that they were fitted to: dissect them
    on others.
    """
    from unitlens.models.dictionaries.dictionary import check_name

    check_name(out)  # what cannot be written is refused before anything is computed
    if out.exists() and not overwrite:
        raise UnitlensError(f"{out} is there already: give another --out, or --overwrite to replace it.")
    set_threads(options.pop("threads"))
    quiet = options["quiet"]
    fitting = {name: options.pop(name) for name in ("method", "count", "positions", "steps")}
    fitting |= {"seed": options["seed"], "batch_size": options["batch_size"], "progress": not quiet}
    options |= {"layers": () if layer is None else (layer,), "groups": None, "concept": None}
    found = _fitted(target, options, workers=worker_count(options["workers"]), **fitting)
    found.save(out)
    if not quiet:
        echo(f"wrote {out}: {found.count} features of {found.fitted_to.layer}, {found.kind}")


def _fitted(target: str, options: dict[str, Any], **fitting: Any) -> Any:
    """Fit to the activations of a run that kept them, or else to those of images that are opened."""
    from unitlens.dissection.dictionaries.fitting import fit_features

    run = kept_run(target, options)
    if run is not None:
        (layer,) = layers_of(run, Path(target), options["layers"])
        return fit_features(run, layer, **fitting)
    source = source_of(target, options)
    (layer,) = source.layers
    if source.same:
        return fit_features(source.dissection, layer, source.data, net=source.net, **fitting)
    return fit_features(source.net, layer, source.data, limit=source.limit, strict=options["strict"], **fitting)
