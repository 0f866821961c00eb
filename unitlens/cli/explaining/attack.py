"""`unitlens attack`."""

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
from unitlens.errors import UnitlensError


@command(first=("of_class", "aim", "method", "epsilon", "norm", "images", "data", "layers", "out"))
@click.argument("target", metavar="RUN")
@click.option("--from", "of_class", required=True, metavar="CLASS", help="The class whose images are attacked.")
@click.option("--to", "aim", metavar="CLASS", help="The class that they are to be taken for. [any other]")
@click.option("--method", default="pgd", show_default=True, help="fgsm, pgd, cw or autoattack.")
@click.option(
    "--epsilon",
    default="8/255",
    show_default=True,
    metavar="E",
    help="How far any number of an image in [0, 1] may move; with --norm l2 the whole image.",
)
@click.option("--norm", metavar="N", help="linf or l2. [linf; of cw l2]")
@click.option("--steps", type=int, default=20, show_default=True, help="Of pgd and cw.")
@click.option("--images", type=click.IntRange(1), default=40, show_default=True, help="Attack so many at most.")
@click.option("--layer", "layers", multiple=True, metavar="NAME", help="The layer of the units. [the run's]")
@basis_option
@class_options
@measuring_options
@quiet_option
def attack(target: str, **options: Any) -> None:
    """Attack images of a class that are predicted rightly, and find the units and concepts that change.

    RUN is the folder of a run; the images are those of its data, or of --data.
    """
    from unitlens.explaining.pairs.attacking import attack as run
    from unitlens.pages.writing import ATTACK, check_no_explanation, report

    began, out = time.time(), options["out"] or Path(target)
    source = explained_source(target, options)
    packages = ("captum", "adversarial-robustness-toolbox")
    question = question_of(target, source, out=out, files=("attack.*",), began=began, packages=packages)
    if not options["overwrite"] and is_there(question, out, "attacked images", quiet=options["quiet"]):
        return
    check_no_explanation(out, ATTACK, overwrite=options["overwrite"])
    source = source._replace(net=with_classes(source.net, options))
    set_threads(options["threads"])
    reading = source.reading(options)
    result = run(
        source.net,
        source.dissection,
        source.data,
        options["of_class"],
        options["aim"],
        method=options["method"],
        epsilon=_epsilon(options["epsilon"]),
        norm=options["norm"],
        steps=options["steps"],
        layer=source.layers[0],
        basis=source.basis,
        groups=options["groups"],
        limit=options["images"],
        workers=reading.workers,
        seed=reading.seed,
        strict=reading.strict,
        progress=reading.progress,
    )
    page = report(out, result, overwrite=options["overwrite"])
    said = f"{result.describe()}\n{summarize_changes(result.changes)}"
    remember(question, out, [result.info], said)
    if not options["quiet"]:
        echo(said)
        echo(f"wrote {out}/: {page.name} to look at, attack.csv to compute with")


def _epsilon(text: str) -> float:
    """A number, or a fraction such as 8/255."""
    part, _, whole = text.partition("/")
    try:
        return float(part) / float(whole or 1)
    except (ValueError, ZeroDivisionError):
        raise UnitlensError(f"--epsilon is {text!r}; it is a number, or a fraction such as 8/255.") from None
