"""`unitlens report`."""

from pathlib import Path
from typing import Any

import click

from unitlens.cli.results.originals import full_size_options, opened_originals
from unitlens.cli.shell.command import command
from unitlens.cli.text import echo, size_of


@command(first=("full_size", "size", "data", "network", "weights", "trust"))
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--size", type=click.IntRange(16), metavar="N", help="With --full-size: side of each image in pixels. [512]"
)
@full_size_options
def report(run: Path, size: int | None, **options: Any) -> None:
    """Write the page of a saved run again.

    Neither images nor network are needed, but for --full-size: its exemplars are drawn from the original images. What
    the run itself keeps of them is not changed.
    """
    from unitlens.dissection.exemplars.originals import FULL, redrawn
    from unitlens.dissection.result import open_run
    from unitlens.errors import UnitlensError
    from unitlens.pages.writing import write_page

    originals, strips = opened_originals(run, options), None
    if originals is not None:
        strips = redrawn(open_run(run), **originals._asdict(), size=size or FULL).files().strips
    elif size is not None:
        raise UnitlensError("--size is of images that are drawn again: add --full-size, or leave --size out.")
    page = write_page(run, strips=strips)
    echo(f"wrote {page} ({size_of(page)})")
