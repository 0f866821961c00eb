"""`unitlens shortcuts`."""

import time
from pathlib import Path
from typing import Any

import click

from unitlens.cli.classes import class_options, with_classes
from unitlens.cli.opening import set_threads
from unitlens.cli.options import basis_option, given_value, quiet_option, source_measuring_options
from unitlens.cli.repeating import is_there, question_of, remember
from unitlens.cli.shell.command import command
from unitlens.cli.targets import explained_source
from unitlens.cli.text import align_columns, echo


@command(first=("subgroups", "most", "value", "draws", "layers", "data", "weights", "out"))
@click.argument("target", metavar="RUN")
@click.option(
    "--groups",
    "subgroups",
    metavar="FILE|COLUMN",
    help="The subgroup of each image, of which accuracy is taken: a CSV file (image,group), or a column of "
    "classes.csv. [those that the data name]",
)
@click.option("--layer", "layers", multiple=True, metavar="NAME", help="The layer. [the run's]")
@click.option(
    "--most", type=click.IntRange(1), default=5, show_default=True, help="Steps in which the set grows, at most."
)
@click.option(
    "--draws",
    type=click.IntRange(0),
    default=39,
    show_default=True,
    help="Sets that are drawn at random to compare with, and as many matched.",
)
@click.option("--value", default="0", show_default=True, metavar="V", help="Set units to a number, or to their mean.")
@basis_option
@class_options
@source_measuring_options
@quiet_option
def shortcuts(target: str, subgroups: str | None, **options: Any) -> None:
    """Find the units whose removal helps the subgroup of images on which the network is worst.

    RUN is the folder of a run. Half of its images choose units, concepts and a set; the other half measures what their
    removal does to the accuracy of every subgroup. Images that belong together are those of the run; --groups says
    here of which kind an image is.
    """
    from unitlens.explaining.subgroups.search import shortcuts as search
    from unitlens.pages.writing import SHORTCUTS, check_no_explanation, report

    began = time.time()
    source = explained_source(target, options | {"groups": None})
    out = options["out"] or Path(target)
    question = question_of(target, source, out=out, files=("shortcuts.*",), began=began)
    if not options["overwrite"] and is_there(question, out, "shortcuts", quiet=options["quiet"]):
        return
    check_no_explanation(out, SHORTCUTS, overwrite=options["overwrite"])
    source = source._replace(net=with_classes(source.net, options))
    set_threads(options["threads"])
    reading = source.reading(options)
    found = search(
        source.net,
        source.dissection,
        source.data,
        subgroups,
        layer=source.layers[0],
        most=options["most"],
        draws=options["draws"],
        value=given_value(options["value"]),
        basis=source.basis,
        limit=reading.limit,
        batch_size=reading.batch_size,
        workers=reading.workers,
        seed=reading.seed,
        strict=reading.strict,
        progress=reading.progress,
    )
    page = report(out, found, overwrite=options["overwrite"])
    said = _summarize(found)
    remember(question, out, [found.info], said)
    if not options["quiet"]:
        echo(said)
        echo(f"wrote {out}/: {page.name} to look at, {page.stem}.csv to compute with")


def _summarize(found: Any) -> str:
    """Accuracy of each subgroup without the chosen set, and which units these are."""
    removal, effects = found.removals[found.chosen], found.effects
    rows = [("subgroup", "images", "right", "without", "effect", "95 % interval")]
    for number, name in enumerate(found.subgroups):
        of_set = (found.chosen, number)
        rows.append(
            (
                name + (" (worst)" if number == found.worst else ""),
                str(effects.images[number]),
                f"{effects.before[number]:.1%}",
                f"{effects.after[of_set]:.1%}",
                f"{effects.effect[of_set]:+.1%}",
                f"{effects.low[of_set]:+.1%} to {effects.high[of_set]:+.1%}",
            )
        )
    concepts = f" ({removal.concept})" if removal.concept else ""
    units = ", ".join(map(str, removal.units))
    return f"Without units {units}{concepts} of {found.layer}:\n{align_columns(rows)}"
