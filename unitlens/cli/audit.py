"""`unitlens audit`."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from unitlens.cli.opening import worker_count
from unitlens.cli.options import (
    process_options,
    quiet_option,
    run_groups_option,
    source_options,
    store_limit_option,
    trust_options,
)
from unitlens.cli.repeating import Answer, Asked, begin, keep_or_measure
from unitlens.cli.shell.command import command
from unitlens.cli.targets import RunOptions, Source
from unitlens.errors import UnitlensWarning
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
def audit(run: Path, **options: Any) -> None:
    """Check how stable the concepts of a saved run's units are, and compare them with trivial ones.

    An audit that is in the folder is replaced; where it is of the same question, it is kept.
    """
    from unitlens.comparison.audit_passes import check_noise
    from unitlens.comparison.auditing import ShownImages
    from unitlens.dissection.result import open_run

    check_noise(options["noise"])
    beginning = begin(run)
    out = options["out"] or run
    asked, dissection = RunOptions.take(options), open_run(run)
    check_writable(out)
    other_groups = options["groups"] is not None
    reopening = asked.reopening(run, dissection, regrouped=other_groups)
    net = reopening.open_network(trust=asked.trust) if asked.network or asked.weights else None
    data = reopening.open_data(trust=asked.trust) if asked.data or asked.opened else None
    shown = ShownImages.open(dissection, net, data, trust=asked.trust, other_groups=other_groups)
    question = Asked(
        beginning=beginning,
        target=run,
        source=_source(dissection, shown),
        out=out,
        what="checks",
        files=("audit.*",),
        without=shown.missing,
    )
    keep_or_measure(question, lambda answer: _check(answer, dissection, shown, out, options))


def _source(dissection: Any, shown: Any) -> Source | None:
    """The network and the images that are looked at; None where none are."""
    if shown.missing is not None:
        return None
    settings, sha256 = dissection.settings, dissection.info["network"]["sha256"]
    return Source(shown.net, dissection.layers, shown.images, sha256, settings.limit, settings.seed, {}, dissection)


def _check(answer: Answer, dissection: Any, shown: Any, out: Path, options: dict[str, Any]) -> None:
    from unitlens.comparison.auditing import audit_opened
    from unitlens.dissection.forward import Resources
    from unitlens.pages.writing import report

    done, answer.lasting = audit_opened(
        dissection,
        shown,
        groups=options["groups"],
        noise=options["noise"],
        batch_size=options["batch_size"],
        seed=options["seed"],
        resources=Resources(worker_count(options["workers"]), options["store_limit"], not options["quiet"]),
    )
    page = report(out, done)
    for note in done.notes:
        warnings.warn(note, UnitlensWarning, stacklevel=1)
    answer.say("\n".join(_lines(done)))
    answer.say_written(f"{out}/: {page.name} to look at, audit.csv and audit.json to compute with")


def _lines(done: Any) -> Iterator[str]:
    """How many units keep their concept, for each layer and check."""
    for row in done.table().itertuples():
        between = f"{row.same_concept_low:.1%} to {row.same_concept_high:.1%}"
        yield f"{row.layer}, {row.check}: {row.same_concept:.1%} of {row.units} units keep their concept ({between})"
