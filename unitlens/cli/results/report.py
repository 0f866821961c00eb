"""`unitlens report`."""

from pathlib import Path

import click

from unitlens.cli.shell.command import command
from unitlens.cli.text import echo, size_of


@command()
@click.argument("run", type=click.Path(path_type=Path))
def report(run: Path) -> None:
    """Write the page of a saved run again; neither images nor network are needed."""
    from unitlens.pages.writing import write_page

    page = write_page(run)
    echo(f"wrote {page} ({size_of(page)})")
