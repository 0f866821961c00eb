"""`unitlens reconstruct`."""

from pathlib import Path
from typing import Any

import click

from unitlens.cli.opening import worker_count
from unitlens.cli.options import basis_option, opening_options, quiet_option, workers_option
from unitlens.cli.repeating import Answer, Asked, begin, keep_or_measure
from unitlens.cli.shell.command import command
from unitlens.cli.targets import Source, run_source
from unitlens.errors import UnitlensError


@command(first=("data", "features", "basis", "device"))
@click.argument("run", type=click.Path(path_type=Path))
@opening_options
@basis_option
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True)
@click.option("--overwrite", is_flag=True, help="Measure it though it is there, or replace a damaged file.")
@workers_option
@quiet_option
def reconstruct(run: Path, **options: Any) -> None:
    """Measure what the features or directions of a saved run hold of their layer.

    Variance explained, and the accuracy that is kept when the layer's output is replaced by what is reconstructed of
    it: reconstruction.json in the run, from which `unitlens compare` takes it.
    """
    from unitlens.dissection.dictionaries.result import FILE

    beginning = begin(run)
    source = run_source(run, {"layers": (), **options})
    if source.basis is None:
        raise UnitlensError(
            f"The units of the run {run} are the layer's own, which hold all of it: give a run of features or "
            "directions."
        )
    asked = Asked(beginning=beginning, target=run, source=source, out=run, what="reconstructions", files=(FILE.name,))
    keep_or_measure(asked, lambda answer: _measure(answer, source, run, options))


def _measure(answer: Answer, source: Source, run: Path, options: dict[str, Any]) -> None:
    """Reconstruct each layer of the run."""
    from unitlens.dissection.dictionaries.reconstruction import reconstruction
    from unitlens.dissection.dictionaries.result import FILE

    FILE.read(run, overwrite=options["overwrite"])  # what cannot be written is refused before anything is computed
    for layer in source.layers:
        found = reconstruction(
            source.net,
            layer,
            source.data,
            basis=source.basis,
            limit=source.limit,
            batch_size=options["batch_size"],
            workers=worker_count(options["workers"]),
            seed=source.seed,
            progress=not options["quiet"],
        )
        found.save(run, overwrite=options["overwrite"])
        answer.say(f"{layer}: {found}")
    answer.say_written(f"{run}/{FILE.name}")
