"""`unitlens fit`."""

from pathlib import Path
from typing import Any

import click

from unitlens.cli.opening import worker_count
from unitlens.cli.options import (
    image_options,
    network_options,
    quiet_option,
    source_options,
    trust_options,
)
from unitlens.cli.repeating import Answer, Asked, begin, keep_or_measure
from unitlens.cli.shell.command import command
from unitlens.cli.shell.completion import BUNDLED, layers_of_run, words
from unitlens.cli.targets import Source, kept_run, layers_of, source_of
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
    from unitlens.dissection.repeating.answers import is_answer
    from unitlens.models.dictionaries.dictionary import check_name

    check_name(out)  # what cannot be written is refused before anything is opened
    if not overwrite and not is_answer(out):
        _check_free(out)
    beginning = begin(target)
    fitting = {name: options.pop(name) for name in ("method", "count", "positions", "steps")}
    fitting |= {"seed": options["seed"], "batch_size": options["batch_size"], "progress": not options["quiet"]}
    fitting["workers"] = worker_count(options["workers"])
    options |= {"layers": () if layer is None else (layer,), "groups": None, "concept": None}
    run = kept_run(target, options)
    layers = () if run is None else layers_of(run, Path(target), options["layers"])
    source = source_of(target, options) if run is None else None
    fitted_to = source.dissection if source is not None and source.same else run
    kept = None if fitted_to is None else fitted_to.activations

    def measure(answer: Answer) -> None:
        if not overwrite:
            _check_free(out)
        found = _fit_kept(run, layers, fitting) if source is None else _fit(source, options["strict"], fitting)
        found.save(out)
        answer.say(f"{found.count} features of {found.fitted_to.layer}, {found.kind}")
        answer.say_written(f"{out}, for `unitlens dissect --features {out}`")

    asked = Asked(
        beginning=beginning,
        target=target,
        source=source,
        out=out,
        what="features",
        read=() if kept is None else (kept,),
        packages=("scikit-learn",),
    )
    keep_or_measure(asked, measure)


def _check_free(out: Path) -> None:
    """Make sure that no file is there."""
    if out.exists():
        raise UnitlensError(f"{out} is there already: give another --out, or --overwrite to replace it.")


def _fit_kept(run: Any, layers: tuple[str, ...], fitting: dict[str, Any]) -> Any:
    """Fit to the activations that a run kept."""
    from unitlens.dissection.dictionaries.fitting import fit_features

    (layer,) = layers
    return fit_features(run, layer, **fitting)


def _fit(source: Source, strict: bool, fitting: dict[str, Any]) -> Any:
    """Fit to the activations in images that were opened: those of a run, or any."""
    from unitlens.dissection.dictionaries.fitting import fit_features

    (layer,) = source.layers
    if source.same:
        return fit_features(source.dissection, layer, source.data, net=source.net, **fitting)
    return fit_features(source.net, layer, source.data, limit=source.limit, strict=strict, **fitting)
