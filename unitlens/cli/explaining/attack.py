"""`unitlens attack`."""

from typing import Any

import click

from unitlens.cli.classes import GivenClasses, class_options
from unitlens.cli.explaining.once import explain_once
from unitlens.cli.options import basis_option, measuring_options, quiet_option
from unitlens.cli.shell.command import command
from unitlens.cli.targets import Source
from unitlens.cli.text import summarize_changes
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
    from unitlens.pages.writing import ATTACK

    explain_once(
        target,
        options,
        GivenClasses.of(options),
        lambda source: _attacked(source, options),
        lambda attacked: f"{attacked.describe()}\n{summarize_changes(attacked.changes)}",
        page=ATTACK,
        what="attacked images",
        packages=("captum", "adversarial-robustness-toolbox"),
    )


def _attacked(source: Source, options: dict[str, Any]) -> Any:
    from unitlens.explaining.pairs.attacking import attack as run

    reading = source.reading(options)
    return run(
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


def _epsilon(text: str) -> float:
    """A number, or a fraction such as 8/255."""
    part, _, whole = text.partition("/")
    try:
        return float(part) / float(whole or 1)
    except (ValueError, ZeroDivisionError):
        raise UnitlensError(f"--epsilon is {text!r}; it is a number, or a fraction such as 8/255.") from None
