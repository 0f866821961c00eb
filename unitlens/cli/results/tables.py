"""`unitlens tables`."""

from pathlib import Path

import click

from unitlens.cli.shell.command import command
from unitlens.cli.text import align_columns, echo
from unitlens.plurals import counted


@command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--format", type=click.Choice(["csv", "parquet", "json", "latex"]), help="Write the tables as these.")
@click.option("--table", "names", multiple=True, metavar="NAME", help="Only this one, such as units; repeatable. [all]")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("tables"), show_default=True, help="Folder for the files."
)
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
def tables(run: Path, format: str | None, names: tuple[str, ...], out: Path, overwrite: bool) -> None:
    """List the tables of a saved run, or write them as parquet, JSON, LaTeX or CSV.

    What every column means stands in docs/tables.md. LaTeX has the columns and first rows that a paper shows, in the
    width of a column of text.
    """
    from unitlens.errors import UnitlensError, did_you_mean
    from unitlens.exports.catalogue import TABLES
    from unitlens.exports.reading import open_tables, write_tables

    known = open_tables(run)
    for name in names:
        if name not in known:
            raise UnitlensError(f"{run} has no table {name!r}{did_you_mean(name, known)}; it has {', '.join(known)}.")
    chosen = {name: known[name] for name in names or known}
    if format is None:
        rows = [
            (name, str(len(table)), str(len(table.columns)), TABLES[f"{name}.csv"].row, TABLES[f"{name}.csv"].made_by)
            for name, table in chosen.items()
        ]
        echo(align_columns([("table", "rows", "columns", "a row is", "made by"), *rows]))
        return
    written = write_tables(out, chosen, format=format, overwrite=overwrite)
    echo(f"wrote {counted(len(written), 'table')} into {out}/: {', '.join(written)}")
