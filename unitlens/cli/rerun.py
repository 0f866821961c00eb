"""`unitlens rerun`."""

from pathlib import Path
from typing import Any

import click

from unitlens.cli.opening import set_threads, take_basis, worker_count
from unitlens.cli.options import (
    basis_option,
    process_options,
    quiet_option,
    source_options,
    store_limit_option,
    trust_options,
)
from unitlens.cli.shell.command import command
from unitlens.cli.targets import RunOptions
from unitlens.cli.text import align_columns, echo


@command(first=("data", "weights", "out", "device"))
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", metavar="DATA", help="Where the images of the run are now. [as in the run]")
@click.option("--weights", metavar="W", help="Weights of the network, as for `unitlens dissect`. [as in the run]")
@trust_options
@source_options
@basis_option
@click.option(
    "--within", metavar="COLUMN|FILE", help="Kinds of images, where the run was given them in memory. [as in the run]"
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder for the run that repeats it. [none: it is removed once it was compared]",
)
@click.option("--device", default="cpu", show_default=True, help="Where the network runs: cpu, cuda, cuda:1, mps.")
@process_options
@store_limit_option
@quiet_option
def rerun(run: Path, out: Path | None, **options: Any) -> int:
    """Repeat a saved run, and compare the two bit for bit.

    The exit code is 0 where they are the same, and 1 where they differ.
    """
    from unitlens.dissection.forward import Resources
    from unitlens.dissection.repeating.rerunning import repeat
    from unitlens.dissection.result import open_run

    quiet = options.pop("quiet")
    set_threads(options.pop("threads"))
    asked, dissection = RunOptions.take(options), open_run(run)
    done = repeat(
        run,
        dissection,
        asked.reopening(run, dissection),
        trust=asked.trust,
        out=out,
        basis=take_basis(options),
        within=options["within"],
        device=options["device"],
        resources=Resources(worker_count(options["workers"]), options["store_limit"], not quiet),
    )
    if not quiet:
        echo(align_columns([(file.name, file.difference or "the same") for file in done.files]))
    if done.same:
        echo(f"{run} was repeated, and is the same bit for bit")
    else:
        echo(f"{run} was repeated, and differs; {_reasons(done.reasons)}")
    if out is not None:
        echo(f"wrote {out}/: the run that repeats it")
    return 0 if done.same else 1


def _reasons(reasons: tuple[str, ...]) -> str:
    return f"a likely reason: {reasons[0]}" if len(reasons) == 1 else f"likely reasons: {'; '.join(reasons)}"
