"""What decides what a measurement of areas comes to."""

from dataclasses import dataclass, field

from unitlens.dissection.settings import BasisRecord
from unitlens.models.fast.precision import Fast
from unitlens.records import LATER, check_types
from unitlens.stats.folds import Folds

LEAST_AREA = 0.01
"""An image shows a concept where this takes at least so much of it: of less, a source may be mistaken."""


@dataclass(frozen=True)
class AreaSettings:
    """All that decides what a measurement of areas comes to, for a given network, latents and concept sources.

    Attributes
    ----------
    layer : str
    change : str
        What happens to the units, such as "set to 0".
    where_sha256 : str or None
        Of the positions at which it happens; None: at all.
    folds : {"all", "even", "odd"}
        The images that are measured.
    limit : int or None
        How many images are drawn; None: all.
    batch_size : int
    seed : int
        Of sets that are drawn.
    fast : {"float32", "bfloat16"} or None
        What a fast copy computes all in front of the layer in; None: the network itself does.
    basis : BasisRecord or None
        Directions, or features of a dictionary, that are the units; None: the layer's own are.
    """

    layer: str
    change: str
    where_sha256: str | None
    folds: Folds
    limit: int | None
    batch_size: int
    seed: int
    fast: Fast | None = None
    basis: BasisRecord | None = field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        check_types(self)
