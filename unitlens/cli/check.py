"""`unitlens check`."""

from collections import Counter
from pathlib import Path
from typing import Any

import click

from unitlens.cli.opening import open_images, take_data_options
from unitlens.cli.options import band_options, groups_option, quiet_option, source_options
from unitlens.cli.shell.command import command
from unitlens.cli.shell.values import Size
from unitlens.cli.text import align_columns, echo
from unitlens.plurals import counted

_LISTED = 5
"""Problems of one kind that are printed; the others are counted, and are listed on the page."""


@command(first=("concepts", "data_format", "grid", "quantile", "out"))
@click.argument("data")
@source_options
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Also write a page into this folder.")
@click.option("--overwrite", is_flag=True, help="Replace an existing page.")
@groups_option
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only N images, spread evenly over the data.")
@click.option(
    "--image-size",
    type=Size(),
    default="224",
    show_default=True,
    help="Size of the input of the network that will be dissected.",
)
@click.option("--resize", type=click.IntRange(1), help="Scale the shorter side to this, then crop the centre.")
@band_options
@click.option("--grid", type=Size(), help="Size of the label grid. [a quarter of the input]")
@click.option("--quantile", type=float, default=0.01, show_default=True, help="As for `unitlens dissect`.")
@click.option("--min-iou", type=float, default=0.04, show_default=True, help="As for `unitlens dissect`.")
@click.option(
    "--sights", type=click.IntRange(0), default=12, show_default=True, help="Images shown per concept on the page."
)
@click.option("--seed", type=click.IntRange(0), default=0, hidden=True)
@quiet_option
def check(data: str, out: Path | None, overwrite: bool, quiet: bool, **options: Any) -> int:
    """Check annotated images: list what is marked, and report problems. The exit code is 1 if there are any.

    DATA is a folder (formats: docs/data.md), bundled:scenes, or a data set of torchvision by name, such as
    torchvision:voc2012.
    """
    from unitlens.data.checking import check as check_data
    from unitlens.pages.writing import report

    opened, sights = take_data_options(options), options.pop("sights")
    images = open_images(data, data, options["limit"], options["seed"], **opened).data
    checked = check_data(images, sights=0 if out is None else sights, progress=not quiet, **options)
    if not quiet:
        echo(_table(checked))
    for line in _problems(checked):
        echo(line)
    if not quiet:
        for note in checked.notes:
            echo(f"note: {note}")
        echo(_summary(checked))
    if out is not None:
        page = report(out, checked, overwrite=overwrite)
        if not quiet:
            echo(f"open {page}")
    return 0 if checked.ok else 1


def _table(checked: Any) -> str:
    """Return the concepts that are marked as lines of a table, and how many are not."""
    marked = [row for row in checked.concepts if row.positions or row.segmenter_iou is not None]
    marked.sort(key=lambda row: (row.concept.category, -row.positions))
    columns = {
        "category": [row.concept.category for row in marked],
        "concept": [row.concept.name for row in marked],
        "images": [str(row.images) for row in marked],
        "positions": [str(row.positions) for row in marked],
        "area": [f"{row.share:.2%}" for row in marked],
        "ceiling": [f"{row.ceiling:.3f}" for row in marked],
        "segmenter's IoU": ["" if row.segmenter_iou is None else f"{row.segmenter_iou:.3f}" for row in marked],
    }
    if not any(columns["segmenter's IoU"]):
        del columns["segmenter's IoU"]
    rows = [tuple(columns), *zip(*columns.values(), strict=True)]
    unmarked = len(checked.concepts) - len(marked)
    more = f"\nand {counted(unmarked, 'concept')} marked nowhere"
    return align_columns(rows) + (more if unmarked else "")


def _problems(checked: Any) -> list[str]:
    """Return the first few problems of each kind, and how many more there are."""
    counts, lines = Counter(finding.kind for finding in checked.findings), []
    for kind, count in sorted(counts.items()):
        texts = [finding.text for finding in checked.findings if finding.kind == kind]
        lines += [f"{kind}: {text}" for text in texts[:_LISTED]]
        if count > _LISTED:
            lines.append(f"{kind}: ... and {count - _LISTED} more")
    return lines


def _summary(checked: Any) -> str:
    categories = ", ".join(f"{name} ({count})" for name, count in checked.categories.items()) or "none"
    count = len(checked.findings)
    problems = counted(count, "problem") if count else "no problems"
    images = f"{checked.read:,} of {counted(checked.images, 'image')} read"
    return f"{images}; annotated images by category: {categories}; {problems}"
