"""Options that give an encoder classes, of the commands whose outcomes are predictions."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

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


@dataclass(frozen=True)
class GivenClasses:
    """The classes that options give an encoder, if they give any.

    Attributes
    ----------
    way : str or None
        One of `CLASS_WAYS`; None: the network keeps its own.
    source : str or None
        The file of vectors, or the images, as typed.
    nearest : int or None
        How many of the images vote; else as many as usual.
    """

    way: str | None = None
    source: str | None = None
    nearest: int | None = None

    @classmethod
    def of(cls, options: dict[str, Any]) -> Self:
        """Read the options, and open nothing yet.

        Raises
        ------
        UnitlensError
            If several ways are given.
        """
        given = [name for name in CLASS_WAYS if options[name] is not None]
        if len(given) > 1:
            ways = " and ".join("--" + name.replace("_", "-") for name in given)
            raise UnitlensError(f"{ways} both give classes: give one of the two.")
        if options["nearest"] is not None and given != ["neighbours"]:
            raise UnitlensError("--nearest is the number of neighbours: give their images with --neighbours.")
        return cls(given[0], options[given[0]], options["nearest"]) if given else cls()

    @cached_property
    def images(self) -> Any:
        """The images that classes come from, opened once; None where they come from none.

        Raises
        ------
        UnitlensError
            If there are no such images.
        """
        if self.source is None or self.way == "zero_shot":
            return None
        from unitlens.data.opening import open_data

        return open_data(self.source)

    def given_to(self, net: Any, *, quiet: bool) -> Any:
        """Return the network with these classes; the network itself where there are none.

        Raises
        ------
        UnitlensError
            If it returns no vector of each image, or the vectors or the images are no classes for it.
        """
        match self.way:
            case None:
                return net
            case "zero_shot":
                from unitlens.models.units.zero_shot import zero_shot

                return zero_shot(net, self.source)
            case "centroids":
                from unitlens.ablation.outcomes.centroids import class_centroids
                from unitlens.models.units.zero_shot import zero_shot

                return zero_shot(net, class_centroids(net, self.images, progress=not quiet))
            case _:
                from unitlens.ablation.outcomes.neighbours import NEIGHBOURS, nearest_neighbours

                return nearest_neighbours(net, self.images, k=self.nearest or NEIGHBOURS, progress=not quiet)
