"""`unitlens reconstruct`."""

from pathlib import Path
from typing import Any

import click

from unitlens.cli.opening import set_threads, worker_count
from unitlens.cli.options import basis_option, opening_options, quiet_option, workers_option
from unitlens.cli.shell.command import command
from unitlens.cli.targets import run_source
from unitlens.cli.text import echo
from unitlens.errors import UnitlensError


@command(first=("data", "features", "basis", "device"))
@click.argument("run", type=click.Path(path_type=Path))
@opening_options
@basis_option
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace a damaged reconstruction.json.")
@workers_option
@quiet_option
def reconstruct(run: Path, **options: Any) -> None:
    """Measure what the features or directions of a saved run hold of their layer.

    Variance explained, and the accuracy that is kept when the layer's output is replaced by what is reconstructed of
    it: reconstruction.json in the run, from which `unitlens compare` takes it.
    """
    from unitlens.dissection.dictionaries.reconstruction import reconstruction
    from unitlens.dissection.dictionaries.result import FILE

    quiet, overwrite = options.pop("quiet"), options.pop("overwrite")
    set_threads(options.pop("threads"))
    workers = worker_count(options.pop("workers"))
    source = run_source(run, {"layers": (), **options})
    if source.basis is None:
        raise UnitlensError(
            f"The units of the run {run} are the layer's own, which hold all of it: give a run of features or "
            "directions."
        )
    FILE.read(run, overwrite=overwrite)  # what cannot be written is refused before anything is computed
    for layer in source.layers:
        found = reconstruction(
            source.net,
            layer,
            source.data,
            basis=source.basis,
            limit=source.limit,
            batch_size=options["batch_size"],
            workers=workers,
            seed=source.seed,
            progress=not quiet,
        )
        found.save(run, overwrite=overwrite)
        if not quiet:
            echo(f"{layer}: {found}")
    if not quiet:
        echo(f"wrote {run}/{FILE.name}")
