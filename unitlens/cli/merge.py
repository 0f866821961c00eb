"""`unitlens merge`."""

from pathlib import Path

import click

from unitlens.cli.options import keep_activations_option, output_options, quiet_option
from unitlens.cli.shell.command import command
from unitlens.cli.text import echo, size_of, summarize, tell_activations


@command()
@click.argument("parts", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PART...")
@output_options
@keep_activations_option
@quiet_option
def merge(parts: tuple[Path, ...], out: Path, overwrite: bool, keep_activations: bool, quiet: bool) -> None:
    """Put parts of the images together that `unitlens dissect --shard` looked at.

    Neither the network nor the images are needed. The run is the same as that of one process that looked at all of
    them. The parts stay where they are.
    """
    from unitlens.dissection.files import check_free
    from unitlens.dissection.work.activations import copy_activations
    from unitlens.dissection.work.concluding import conclude
    from unitlens.dissection.work.merging import find_parts
    from unitlens.dissection.work.works import holding_run
    from unitlens.pages.writing import report

    check_free(out, overwrite=overwrite)
    with holding_run(out):
        work = find_parts(parts)
        result = conclude(work.asked, work, show=not quiet)
        result.info["command"] = click.get_current_context().obj
        result.info["data"] |= work.asked.recorded
        page = report(out, result, overwrite=overwrite)
        if keep_activations:
            copy_activations(work, out)
    if not quiet:
        echo(summarize(result))
        echo(f"wrote {out}/: {page.name} ({size_of(page)}) to look at, units.csv to compute with")
        tell_activations(out, kept=keep_activations)
