"""`unitlens label`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from unitlens.cli.opening import set_threads, take_basis, take_data_options, worker_count
from unitlens.cli.options import (
    basis_option,
    process_options,
    quiet_option,
    source_options,
    store_limit_option,
    trust_options,
)
from unitlens.cli.shell.command import command
from unitlens.cli.targets import reopening_of
from unitlens.cli.text import echo
from unitlens.errors import UnitlensError


@command(first=("given", "overwrite", "data", "weights"))
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "given",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Labels from elsewhere, as CSV: unit,label (and layer, score, rank); named by the file. Repeatable.",
)
@click.option("--overwrite", is_flag=True, help="Replace labels of the same method that are there.")
@click.option("--data", metavar="DATA", help="Where the images of the run are now. [as in the run]")
@click.option("--weights", metavar="W", help="Weights of the network, as for `unitlens dissect`. [as in the run]")
@trust_options
@source_options
@basis_option
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True)
@process_options
@store_limit_option
@quiet_option
def label(run: Path, given: tuple[Path, ...], overwrite: bool, **options: Any) -> None:
    """Name the units of a saved run in other ways, and weigh every label by the same evidence.

    The labels are written into the run, beside the concepts of its units: labels.csv and the page. What takes
    activations has them from a run made with --keep-activations, or else shows the images to the network once more.
    """
    from unitlens.dissection.result import open_run
    from unitlens.labels.given.reading import given_labels
    from unitlens.pages.writing import report

    quiet = options.pop("quiet")
    set_threads(options.pop("threads"))
    options["basis"] = take_basis(options)
    if not given:
        raise UnitlensError("Nothing was asked for: add --from FILE, labels from elsewhere.")
    dissection = open_run(run)
    made = [given_labels(dissection, file) for file in given]
    page = report(run, *made, overwrite=overwrite)
    if not quiet:
        for line in _summary(made):
            echo(line)
        echo(f"wrote {run}/: {page.name} to look at, labels.csv to compute with")


def _summary(made: list[Any]) -> Iterator[str]:
    """What was found by each method, and what the user should know of it."""
    for labels in made:
        (method,) = labels.methods
        counts = labels.rows["verdict"].value_counts()
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        yield f"{method}: {len(labels.rows)} labels, {verdicts or 'none'}"
        yield from labels.methods[method].notes


def open_again(run: Path, dissection: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    """Open the network and the images of a run, as the command line says or as recorded; takes their options out."""
    network, weights, source, trust = (options.pop(name) for name in ("network", "weights", "data", "trust"))
    opened = take_data_options(options)
    options["workers"] = worker_count(options["workers"])
    reopening = reopening_of(
        run,
        dissection.info,
        network=network,
        weights=weights,
        source=source,
        opened=opened,
        groups=dissection.groups,
        trust=trust,
    )
    return reopening.open_network(trust=trust), reopening.open_data(trust=trust)
