"""`unitlens check`."""

from collections import Counter
from pathlib import Path
from typing import Any

import click

from unitlens.cli.opening import open_images, take_data_options
from unitlens.cli.options import Size, quiet_option, source_options
from unitlens.cli.text import align_columns

_LISTED = 5
"""Findings of one kind that are printed; the others are counted, and stand on the page."""


@click.command()
@click.argument("data")
@source_options
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Write a page to look at into it.")
@click.option("--overwrite", is_flag=True, help="Replace a page that is there.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only N images, spread evenly over the data.")
@click.option("--image-size", type=Size(), default="224", show_default=True, help="The input of the network to be.")
@click.option("--resize", type=click.IntRange(1), help="Scale the shorter side to this, then crop the centre.")
@click.option("--grid", type=Size(), help="Label grid. [a quarter of the input]")
@click.option("--quantile", type=float, default=0.01, show_default=True, help="Of the dissection to be.")
@click.option("--min-iou", type=float, default=0.04, show_default=True, help="Of the dissection to be.")
@click.option("--sights", type=click.IntRange(0), default=12, show_default=True, help="Images of a concept.")
@click.option("--seed", type=click.IntRange(0), default=0, hidden=True)
@quiet_option
def check(data: str, out: Path | None, overwrite: bool, quiet: bool, **options: Any) -> int:
    """Look through annotated images: what is there, and what is wrong. Exit code 1 if something is.

    DATA is a folder (docs/data.md has its formats), bundled:scenes, or a data set of torchvision's by name, such as
    torchvision:voc2012.
    """
    from unitlens.data.checking import check as look
    from unitlens.pages.writing import report

    opened, seed = take_data_options(options), options.pop("seed")
    images = open_images(data, data, options["limit"], seed, **opened)
    options["seed"] = seed
    options["sights"] *= out is not None
    found = look(images, progress=not quiet, **options)
    if not quiet:
        click.echo(_table(found))
    for line in _findings(found):
        click.echo(line)
    if not quiet:
        for note in found.notes:
            click.echo(f"note: {note}")
        click.echo(_verdict(found))
    if out is not None:
        page = report(out, found, overwrite=overwrite)
        if not quiet:
            click.echo(f"open {page}")
    return 0 if found.ok else 1


def _table(found: Any) -> str:
    held = any(one.segmenter_iou is not None for one in found.concepts)
    rows = [("category", "concept", "images", "positions", "area", "highest IoU", *["segmenter's IoU"] * held)]
    marked = [one for one in found.concepts if one.positions or one.segmenter_iou is not None]
    for one in sorted(marked, key=lambda one: (one.concept.category, -one.positions)):
        numbers = (str(one.images), str(one.positions), f"{one.share:.2%}", f"{one.ceiling:.3f}")
        reached = "" if one.segmenter_iou is None else f"{one.segmenter_iou:.3f}"
        rows.append((one.concept.category, one.concept.name, *numbers, *[reached] * held))
    nowhere = len(found.concepts) - len(marked)
    return align_columns(rows) + f"\nand {nowhere} concept{'s' * (nowhere > 1)} marked nowhere" * (nowhere > 0)


def _findings(found: Any) -> list[str]:
    counts, lines = Counter(finding.kind for finding in found.findings), []
    for kind, count in sorted(counts.items()):
        own = [finding.text for finding in found.findings if finding.kind == kind]
        lines += [f"{kind}: {text}" for text in own[:_LISTED]]
        if count > _LISTED:
            lines.append(f"{kind}: ... and {count - _LISTED} more")
    return lines


def _verdict(found: Any) -> str:
    categories = ", ".join(f"{name} ({count})" for name, count in found.categories.items()) or "none"
    count = len(found.findings)
    return f"{found.read} of {found.images} images looked at; images annotated by category: {categories}; " + (
        f"{count} thing{'s are' if count != 1 else ' is'} wrong" if count else "nothing is wrong"
    )
