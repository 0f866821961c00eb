"""`unitlens audit`."""

from pathlib import Path
from typing import Any

import click

from unitlens.cli.opening import set_threads, worker_count
from unitlens.cli.options import (
    process_options,
    quiet_option,
    run_groups_option,
    source_options,
    store_limit_option,
    trust_options,
)
from unitlens.cli.shell.command import command
from unitlens.cli.targets import RunOptions
from unitlens.cli.text import echo
from unitlens.files import check_writable


@command(first=("noise", "groups", "data", "weights"))
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", metavar="DATA", help="Where the images of the run are now. [as in the run]")
@click.option("--weights", metavar="W", help="Weights of the network, as for `unitlens dissect`. [as in the run]")
@trust_options
@source_options
@run_groups_option
@click.option(
    "--noise",
    type=float,
    default=0.02,
    show_default=True,
    help="Standard deviation of the noise added to images in [0, 1]; 0 skips this check.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Random seed of the noise.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Folder for the files. [the run]")
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True)
@process_options
@store_limit_option
@quiet_option
def audit(run: Path, out: Path | None, **options: Any) -> None:
    """Check how stable the concepts of a saved run's units are, and compare them with trivial ones."""
    from unitlens.comparison.auditing import audit as check
    from unitlens.dissection.result import open_run
    from unitlens.pages.writing import report

    quiet = options.pop("quiet")
    set_threads(options.pop("threads"))
    options["workers"] = worker_count(options["workers"])
    asked, dissection = RunOptions.take(options), open_run(run)
    check_writable(out or run)
    reopening = asked.reopening(run, dissection, regrouped=options["groups"] is not None)
    net = reopening.open_network(trust=asked.trust) if asked.network or asked.weights else None
    data = reopening.open_data(trust=asked.trust) if asked.data or asked.opened else None
    done = check(dissection, net, data, trust=asked.trust, progress=not quiet, **options)
    page = report(out or run, done)
    if not quiet:
        for note in done.notes:
            echo(f"unitlens: {note}", err=True)
        for row in done.table().itertuples():
            between = f"{row.same_concept_low:.1%} to {row.same_concept_high:.1%}"
            echo(
                f"{row.layer}, {row.check}: {row.same_concept:.1%} of {row.units} units keep their concept ({between})"
            )
        echo(f"wrote {out or run}/: {page.name} to look at, audit.csv and audit.json to compute with")
