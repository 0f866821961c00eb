"""`unitlens audit`."""

import time
import warnings
from collections.abc import Iterator
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
from unitlens.cli.repeating import is_there, question_of, remember
from unitlens.cli.shell.command import command
from unitlens.cli.targets import RunOptions, Source
from unitlens.cli.text import echo
from unitlens.errors import UnitlensError, UnitlensWarning
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
@click.option("--again", is_flag=True, help="Check it though the same was checked before.")
@quiet_option
def audit(run: Path, out: Path | None, again: bool, **options: Any) -> None:
    """Check how stable the concepts of a saved run's units are, and compare them with trivial ones.

    An audit that is in the folder is replaced; where it is of the same question, it is kept.
    """
    from unitlens.comparison.auditing import audit as check
    from unitlens.dissection.result import open_run
    from unitlens.pages.writing import report

    began = time.time()
    quiet = options.pop("quiet")
    set_threads(options.pop("threads"))
    options["workers"] = worker_count(options["workers"])
    asked, dissection = RunOptions.take(options), open_run(run)
    out = out or run
    check_writable(out)
    reopening = asked.reopening(run, dissection, regrouped=options["groups"] is not None)
    source, question = _source(reopening, dissection, trust=asked.trust), None
    if source is not None:
        question = question_of(run, source, out=out, files=("audit.*",), began=began)
    if not again and is_there(question, out, "checks", quiet=quiet, anew="--again makes them anew"):
        return
    net = None if source is None else source.net
    if net is None and (asked.network or asked.weights):
        net = reopening.open_network(trust=asked.trust)
    data = None  # the audit opens what the run names, and does without where it cannot
    if asked.data or asked.opened:
        data = reopening.open_data(trust=asked.trust) if source is None else source.data
    done = check(dissection, net, data, trust=asked.trust, progress=not quiet, **options)
    page, said = report(out, done), "\n".join(_lines(done))
    for note in done.notes:
        warnings.warn(note, UnitlensWarning, stacklevel=1)
    if done.overlaps is not None:  # all passes were made
        remember(question, out, [dissection.info], said)
    if not quiet:
        echo(said)
        echo(f"wrote {out}/: {page.name} to look at, audit.csv and audit.json to compute with")


def _source(reopening: Any, dissection: Any, *, trust: bool) -> Source | None:
    """The network and the images of the run; None where they cannot be opened, or are not looked at."""
    if dissection.settings.basis is not None:
        return None
    try:
        net, data = reopening.open_network(trust=trust), reopening.open_data(trust=trust)
    except UnitlensError:  # the audit says what it leaves out
        return None
    settings, sha256 = dissection.settings, dissection.info["network"]["sha256"]
    return Source(net, dissection.layers, data, sha256, settings.limit, settings.seed, {}, dissection, same=True)


def _lines(done: Any) -> Iterator[str]:
    """How many units keep their concept, for each layer and check."""
    for row in done.table().itertuples():
        between = f"{row.same_concept_low:.1%} to {row.same_concept_high:.1%}"
        yield f"{row.layer}, {row.check}: {row.same_concept:.1%} of {row.units} units keep their concept ({between})"
