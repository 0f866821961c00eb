"""`unitlens shortcuts`."""

from typing import Any

import click

from unitlens.cli.classes import GivenClasses, class_options
from unitlens.cli.explaining.once import explain_once
from unitlens.cli.options import basis_option, given_value, quiet_option, source_measuring_options
from unitlens.cli.shell.command import command
from unitlens.cli.targets import Source
from unitlens.cli.text import align_columns


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
    from unitlens.pages.writing import SHORTCUTS

    explain_once(
        target,
        options | {"groups": None},
        GivenClasses.of(options),
        lambda source: _found(source, subgroups, options),
        _summarize,
        page=SHORTCUTS,
        what="shortcuts",
    )


def _found(source: Source, subgroups: str | None, options: dict[str, Any]) -> Any:
    from unitlens.explaining.subgroups.search import shortcuts as search

    reading = source.reading(options)
    return search(
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
