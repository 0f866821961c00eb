"""The command line: `unitlens dissect`, and what comes before and after it."""

import os
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from unitlens.errors import UnitlensError, UnitlensWarning, did_you_mean

Command = TypeVar("Command", bound=Callable[..., Any])


class _Suggesting(click.Group):
    """A group whose unknown commands are answered with the nearest known one."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            known = ", ".join(self.commands)
            raise UnitlensError(
                f"There is no command {args[0]!r}{did_you_mean(args[0], self.commands)}; there are {known}."
            )
        return super().resolve_command(ctx, args)


class Numbers(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """Three numbers such as 0.485,0.456,0.406."""

    name = "R,G,B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Read them, one for each colour; a single number stands for all three."""
        try:
            numbers = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        if len(numbers) == 1:
            numbers *= 3
        if len(numbers) != 3:
            self.fail(f"{value!r} is not three numbers such as 0.485,0.456,0.406", param, ctx)
        return numbers


class Size(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """One number, or rows and columns such as 56x42."""

    name = "N|HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read it as (rows, columns)."""
        if isinstance(value, tuple):
            return value
        parts = str(value).lower().split("x")
        if len(parts) > 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is not a size such as 56 or 56x42 (rows x columns)", param, ctx)
        return int(parts[0]), int(parts[-1])


class Bytes(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """A number of bytes such as 20GB."""

    name = "BYTES"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        text = str(value).strip().lower()
        number = text.rstrip("bkmgt ")
        unit = text[len(number) :].strip().removesuffix("b")
        try:
            return int(float(number) * 1000 ** ["", "k", "m", "g", "t"].index(unit))
        except ValueError:
            self.fail(f"{value!r} is not a number of bytes such as 20GB", param, ctx)


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, in the order in which they are listed."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


network_options = _options(
    click.option(
        "--weights", metavar="W", help="DEFAULT (torchvision's, downloaded), a .safetensors, .pt or .pth file, or none."
    ),
    click.option("--image-size", type=Size(), help="The network's input; pictures are squashed to it."),
    click.option("--resize", type=click.IntRange(1), help="Scale the shorter side to this, then crop the centre."),
    click.option("--mean", type=Numbers(), help="Subtracted from colours in [0, 1]."),
    click.option("--std", type=Numbers(), help="Divided by, after that."),
    click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, mps."),
    click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of everything that is drawn."),
)

picture_options = _options(
    click.option("--data", metavar="DATA", help="An annotated folder, or bundled:scenes."),
    click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N pictures."),
    click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True),
    click.option(
        "--workers", type=click.IntRange(0), help="Processes that decode pictures. [one less than cores, up to 4]"
    ),
    click.option("--threads", type=click.IntRange(1), help="Threads of the arithmetic. [torch's own choice]"),
    click.option("--strict", is_flag=True, help="A picture that cannot be read ends the run."),
)

output_options = _options(
    click.option("--out", type=click.Path(path_type=Path), default=Path("run"), show_default=True, metavar="RUN"),
    click.option("--overwrite", is_flag=True, help="Replace a run that is there."),
)

quiet_option = click.option("--quiet", is_flag=True, help="Say only what is wrong.")


@click.group(
    cls=_Suggesting,
    no_args_is_help=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="unitlens", message="%(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """What the individual units of a trained vision network look for, how sure that is, and what they are used for."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@cli.command()
@click.argument("model")
@click.option(
    "--layer", "layers", multiple=True, metavar="NAME", help="Repeatable; `unitlens layers MODEL` lists them."
)
@picture_options
@output_options
@click.option("--preset", default="unitlens", show_default=True, help="unitlens, pnas2020 or netdissect2017.")
@click.option("--quantile", type=float, help="Share of positions above a unit's threshold. [0.01]")
@click.option("--min-iou", type=float, help="The papers' rule for a match. [0.04]")
@click.option("--grid", type=Size(), help="Label grid. [a quarter of the input]")
@click.option("--upsampling", type=click.Choice(["edges", "zeros"]), help="What lies outside of a map.")
@click.option(
    "--tap", type=click.Choice(["output", "after_inplace"]), help="The activation: returned, or left in memory."
)
@click.option("--score", default="iou", show_default=True, help="What chooses the label.")
@click.option("--evidence/--no-evidence", default=True, show_default=True, help="Intervals, held-out checks, chance.")
@click.option("--fdr", type=float, default=0.05, show_default=True, help="False discovery rate of the verdict.")
@click.option("--exemplars", type=click.IntRange(0), default=8, show_default=True, metavar="K", help="Pictures a unit.")
@click.option("--spool-limit", type=Bytes(), help="Most that may wait on disk. [half of what is free]")
@click.option("--fast", is_flag=True, help="Compute faster at other rounding; the deviation is stated in run.json.")
@network_options
@quiet_option
def dissect(model: str, layers: tuple[str, ...], data: str | None, out: Path, overwrite: bool, **options: Any) -> None:
    """Match every unit of a network's layers against the concepts that are marked in pictures.

    MODEL is resnet18, torchvision.models:resnet18, package.module:callable, path/to/file.py:callable or bundled:scenes.
    """
    from unitlens.dissection import dissect as run
    from unitlens.runs import check_free

    check_free(out, overwrite=overwrite)
    quiet, workers = options.pop("quiet"), _prepare(options.pop("threads"), options.pop("workers"))
    net = _load(model, options)
    result = run(
        net,
        list(layers) or None,
        _data(model, data, options["limit"], options["seed"]),
        workers=workers,
        progress=not quiet,
        **options,
    )
    result.info["command"] = shlex.join(["unitlens", *sys.argv[1:]])
    page = _publish(result, out, overwrite=overwrite)
    if not quiet:
        click.echo(_summary(result))
        click.echo(f"wrote {out}/: {page.name} to look at, units.csv to compute with")


@cli.command()
@click.argument("model")
@network_options
def layers(model: str, **options: Any) -> None:
    """List every layer of a network in forward order: kind, output shape, number of units."""
    infos = _load(model, options).layers()
    rows = [("layer", "kind", "output", "units", "grid")]
    for info in infos:
        shape = "x".join(map(str, info.shape)) if info.shape else ("not reached" if info.shape is None else "a number")
        grid = "x".join(map(str, info.grid)) if info.grid else ""
        rows.append((info.name, info.kind, shape, str(info.units or ""), grid))
    click.echo(_aligned(rows))


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--concept", help="Units of highest IoU with this concept, whether or not it is their label.")
@click.option("--layer", help="Of this layer alone.")
@click.option("--sort", default="iou", show_default=True, help="Any column of units.csv.")
@click.option("-n", "--rows", type=click.IntRange(1), help="Only so many rows.")
def units(run: Path, concept: str | None, layer: str | None, sort: str, rows: int | None) -> None:
    """Print the table of a run."""
    from unitlens.result import open_run

    result = open_run(run)
    click.echo(unit_lines(result[layer] if layer else result, concept=concept, sort=sort, rows=rows))


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
def report(run: Path) -> None:
    """Make the page of a saved run again, without pictures or network."""
    from unitlens.page import write_page
    from unitlens.runs import read_run

    click.echo(f"wrote {write_page(run, read_run(run))}")


@cli.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("unitlens-demo"), show_default=True)
@click.option("--pictures", type=click.IntRange(32), default=1000, show_default=True, help="How many scenes are drawn.")
@quiet_option
def demo(out: Path, pictures: int, quiet: bool) -> None:
    """Dissect the bundled network on bundled scenes, and write the report."""
    from unitlens.dissection import dissect as run
    from unitlens.network import load
    from unitlens.scenes import Scenes

    if out.exists() and not (out / "run.json").is_file() and any(out.iterdir()):
        raise UnitlensError(f"{out} holds other files and no run: choose another --out.")
    workers = _prepare(None, None)
    result = run(load("bundled:scenes"), None, Scenes(pictures), workers=workers, progress=not quiet)
    page = _publish(result, out, overwrite=True)
    if not quiet:
        click.echo(unit_lines(result, rows=10))
        click.echo(_summary(result))
        click.echo(f"open {page}")


def unit_lines(result: Any, *, concept: str | None = None, sort: str = "iou", rows: int | None = None) -> str:
    """The table of a dissection as lines of text.

    Parameters
    ----------
    result : Dissection
    concept : str, optional
        Units that match it, by their IoU with it.
    sort : str
        A column; numbers fall, words rise.
    rows : int, optional
        How many rows; all.
    """
    table = result.table()
    if sort not in table.columns:
        raise UnitlensError(
            f"There is no column {sort!r} in units.csv to sort by{did_you_mean(sort, table.columns)}; there are "
            f"{', '.join(table.columns)}."
        )
    shown = ["layer", "unit", "concept", "category", "iou", "heldout_iou", "chance_iou", "verdict"]
    if concept is not None:
        wanted = result.units_for(concept)
        table = table.set_index("unit", drop=False).loc[wanted]
        table.insert(0, "iou_with", result.scores("iou")[wanted, result.column(concept)])
        shown.insert(2, "iou_with")
    numeric = table[sort].dtype.kind in "fiub"
    table = (
        table
        if concept is not None and sort == "iou"
        else table.sort_values(sort, ascending=not numeric, kind="stable")
    )
    shown += [] if sort in shown else [sort]
    table = table[shown].head(rows) if rows else table[shown]
    cells = [[_cell(value) for value in row] for row in table.itertuples(index=False)]
    return _aligned([tuple(table.columns), *map(tuple, cells)])


def _cell(value: Any) -> str:
    import pandas as pd

    if pd.isna(value):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _prepare(threads: int | None, workers: int | None) -> int:
    """Set the threads; how many workers there will be."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    return min(4, max(0, (os.cpu_count() or 1) - 1)) if workers is None else workers


def _load(model: str, options: dict[str, Any]) -> Any:
    """The network, with the options that are its own taken out; the seed stays, it is the run's too."""
    from unitlens.network import load

    own = {name: options.pop(name) for name in ("weights", "image_size", "resize", "mean", "std", "device")}
    return load(model, seed=options["seed"], **own)


def _data(model: str, data: str | None, limit: int | None, seed: int) -> Any:
    from unitlens.sources import open_data

    if data is None and not model.startswith("bundled:"):
        raise UnitlensError("No pictures were named: say --data FOLDER (an annotated folder) or --data bundled:scenes.")
    return open_data(data or model, pictures=limit, seed=seed)


def _publish(result: Any, out: Path, *, overwrite: bool) -> Path:
    from unitlens.page import report as publish

    return publish(out, result, overwrite=overwrite)


def _summary(result: Any) -> str:
    table, detectors = result.table(), result.detectors()
    unique = len(detectors[["category", "concept"]].drop_duplicates())
    silent = int(table["silent"].sum())
    return (
        f"{len(detectors)} of {len(table)} units are detectors, of {unique} concepts in "
        f"{detectors['category'].nunique()} categories" + (f"; {silent} are silent" if silent else "")
    )


def _say(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning of ours as a sentence, any other as Python does."""
    text = (
        str(message)
        if issubclass(category, UnitlensWarning)
        else warnings.formatwarning(message, category, filename, lineno)
    )
    click.echo(f"unitlens: {text.rstrip()}", err=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and exit: 0 done, 1 something found wrong, 2 bad input, 130 interrupted."""
    warnings.showwarning = _say
    try:
        code = cli.main(
            args=list(arguments) if arguments is not None else None, prog_name="unitlens", standalone_mode=False
        )
    except UnitlensError as error:
        click.echo(f"unitlens: {error}", err=True)
        code = 2
    except click.ClickException as error:
        click.echo(f"unitlens: {_sentence(error)}", err=True)
        code = 2
    except (KeyboardInterrupt, click.Abort):
        click.echo("unitlens: stopped; nothing was written.", err=True)
        code = 130
    except BrokenPipeError:
        sys.stderr.close()
        code = 0
    sys.exit(code if isinstance(code, int) else 0)


def _sentence(error: click.ClickException) -> str:
    text = error.format_message()
    if isinstance(error, click.NoSuchOption) and error.ctx:
        known = [name for option in error.ctx.command.params for name in option.opts if name.startswith("-")]
        text = f"There is no option {error.option_name}{did_you_mean(error.option_name, known)}"
    command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "unitlens"
    return f"{text.rstrip('.')} (see {command} --help)."
