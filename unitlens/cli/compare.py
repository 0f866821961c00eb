"""`unitlens compare`."""

from pathlib import Path

import click

from unitlens.cli.options import quiet_option
from unitlens.cli.shell.command import command
from unitlens.cli.text import echo


@command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN[,RUN...]...")
@click.option("--name", "names", multiple=True, help="Name of a run, once for each run. [its folder's name]")
@click.option("--against", metavar="NAME", help="The entry with which the others are compared. [the first]")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("compare"), show_default=True, help="Folder for the files."
)
@click.option("--overwrite", is_flag=True, help="Replace an existing comparison.")
@quiet_option
def compare(
    runs: tuple[str, ...], names: tuple[str, ...], against: str | None, out: Path, overwrite: bool, quiet: bool
) -> None:
    """Compare the layers of saved runs: what their units detect, with intervals of every difference.

    Runs that are joined by commas (A1,A2,A3) are one network that was trained several times: its numbers are means over
    the trainings, and the intervals say how much trainings differ.
    """
    from unitlens.comparison.comparing import compare as put_together
    from unitlens.pages.writing import report

    comparison = put_together(*map(_trainings, runs), names=names or None, against=against)
    page = report(out, comparison, overwrite=overwrite)
    if not quiet:
        echo(comparison.summary())
        echo(f"wrote {out}/: {page.name} to look at, compare.csv to compute with")


def _trainings(run: str) -> Path | list[Path]:
    """A folder, or several that are joined by commas."""
    if "," not in run or Path(run).exists():
        return Path(run)
    return [Path(part) for part in run.split(",") if part]
