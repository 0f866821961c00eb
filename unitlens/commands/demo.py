"""`unitlens demo`."""

from pathlib import Path

import click

from unitlens.commands.options import quiet_option
from unitlens.commands.shared import prepare, publish, summary, unit_lines


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("unitlens-demo"), show_default=True)
@click.option("--pictures", type=click.IntRange(32), default=1000, show_default=True, help="How many scenes are drawn.")
@quiet_option
def demo(out: Path, pictures: int, quiet: bool) -> None:
    """Dissect the bundled network on bundled scenes, and write the report."""
    from unitlens.dissection import dissect as run
    from unitlens.network import load
    from unitlens.runs import check_free
    from unitlens.scenes import Scenes

    check_free(out, overwrite=True)
    workers = prepare(None, None)
    result = run(load("bundled:scenes"), None, Scenes(pictures), workers=workers, progress=not quiet)
    page = publish(result, out, overwrite=True)
    if not quiet:
        click.echo(unit_lines(result, rows=10))
        click.echo(summary(result))
        click.echo(f"open {page}")
