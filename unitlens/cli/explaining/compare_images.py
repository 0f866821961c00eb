"""`unitlens compare-images`."""

import time
from pathlib import Path
from typing import Any

import click

from unitlens.cli.classes import class_options, with_classes
from unitlens.cli.opening import set_threads
from unitlens.cli.options import basis_option, measuring_options, quiet_option
from unitlens.cli.repeating import is_there, question_of, remember
from unitlens.cli.shell.command import command
from unitlens.cli.targets import explained_source
from unitlens.cli.text import echo, summarize_changes


@command("compare-images", first=("layers", "interval", "data", "weights", "out"))
@click.argument("target", metavar="RUN")
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option("--layer", "layers", multiple=True, metavar="NAME", help="The layer. [the run's]")
@click.option(
    "--interval",
    type=click.Choice(["0.95", "0.99"]),
    default="0.95",
    show_default=True,
    help="How sure intervals over pairs are.",
)
@basis_option
@class_options
@measuring_options
@quiet_option
def compare_images(target: str, before: Path, after: Path, **options: Any) -> None:
    """Find the units that change between images in pairs: before and after an attack, an edit, a filter.

    RUN is the folder of a run. BEFORE and AFTER are two image files, or two folders whose files are paired by their
    names.
    """
    from unitlens.explaining.pairs.image_pairs import compare_images as compare
    from unitlens.pages.writing import PAIRS, check_no_explanation, report

    began, out = time.time(), options["out"] or Path(target)
    source = explained_source(target, options, images=False)
    question = question_of(target, source, out=out, files=("pairs.*",), began=began, images=(before, after))
    if not options["overwrite"] and is_there(question, out, "changes", quiet=options["quiet"]):
        return
    check_no_explanation(out, PAIRS, overwrite=options["overwrite"])
    source = source._replace(net=with_classes(source.net, options))
    set_threads(options["threads"])
    reading = source.reading(options)
    changes = compare(
        source.net,
        source.dissection,
        before,
        after,
        layer=source.layers[0],
        basis=source.basis,
        groups=options["groups"],
        interval=float(options["interval"]),
        batch_size=reading.batch_size,
        workers=reading.workers,
        strict=reading.strict,
        progress=reading.progress,
    )
    page = report(out, changes, overwrite=options["overwrite"])
    said = summarize_changes(changes)
    remember(question, out, [changes.info], said)
    if not options["quiet"]:
        echo(said)
        echo(f"wrote {out}/: {page.name} to look at, pairs.csv to compute with")
