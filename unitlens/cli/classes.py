"""Options that give an encoder classes, of the commands whose outcomes are predictions."""

from typing import Any

import click

from unitlens.cli.options import CLASS_WAYS
from unitlens.cli.options import options as several
from unitlens.cli.shell.completion import words
from unitlens.errors import UnitlensError

class_options = several(
    click.option(
        "--zero-shot",
        metavar="FILE",
        help="Give an encoder such as CLIP's classes: the vectors of a .safetensors file, one of each class by its "
        "name (logit = 100 x cosine).",
    ),
    click.option(
        "--centroids",
        metavar="DATA",
        shell_complete=words("bundled:scenes", files=True),
        help="Give an encoder such as DINO's classes: those of other images, as --data takes them, by the mean vector "
        "of each.",
    ),
    click.option(
        "--neighbours",
        metavar="DATA",
        shell_complete=words("bundled:scenes", files=True),
        help="The same by the nearest of these images, which vote.",
    ),
    click.option("--nearest", type=click.IntRange(1), metavar="K", help="With --neighbours: how many vote. [20]"),
)


def with_classes(net: Any, options: dict[str, Any]) -> Any:
    """Return the network with the classes that options give it; the network itself where they give none.

    Raises
    ------
    UnitlensError
        If several are given, or it returns no vector of each image.
    """
    given = [name for name in CLASS_WAYS if options[name] is not None]
    if len(given) > 1:
        raise UnitlensError(
            f"{' and '.join('--' + name.replace('_', '-') for name in given)} both give classes: give one of the two."
        )
    if options["nearest"] is not None and given != ["neighbours"]:
        raise UnitlensError("--nearest is the number of neighbours: give their images with --neighbours.")
    if not given:
        return net
    source = options[given[0]]
    match given[0]:
        case "zero_shot":
            from unitlens.models.units.zero_shot import zero_shot

            return zero_shot(net, source)
        case "centroids":
            from unitlens.ablation.outcomes.centroids import class_centroids
            from unitlens.models.units.zero_shot import zero_shot

            return zero_shot(net, class_centroids(net, source, progress=not options["quiet"]))
        case _:
            from unitlens.ablation.outcomes.neighbours import NEIGHBOURS, nearest_neighbours

            return nearest_neighbours(net, source, k=options["nearest"] or NEIGHBOURS, progress=not options["quiet"])
