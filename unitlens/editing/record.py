"""What interventions.json says: all that the page shows of interventions beside their tables."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from unitlens.errors import UnitlensError
from unitlens.records import check_types

SCHEMA = 1


@dataclass(frozen=True)
class PlaceTaker:
    """What stands where a concept was, and its share of the area that the concept lost."""

    name: str
    share: float

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class Replaced:
    """A concept that lost area, as a share of the image, and what took its place."""

    concept: str
    lost: float
    by: tuple[PlaceTaker, ...]

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class SetRecord:
    """One set of units.

    Attributes
    ----------
    layer : str
    units : tuple of int
    change : str
        What happens to them.
    images : int
    moved : float
        How far images move, as a share of their numbers' range.
    moved_random : tuple of float
        The same of random sets: low, mean and high; empty without any.
    distance : tuple of float
        Of the layer, before and after, and the share of positions outside of the usual; empty where it is not known.
    replaced : tuple of Replaced
    sheet : str or None
        The file of example images.
    sheet_of : str or None
        The concept that all of them show untouched.
    """

    layer: str
    units: tuple[int, ...]
    change: str
    images: int
    moved: float
    moved_random: tuple[float, ...]
    distance: tuple[float, ...]
    replaced: tuple[Replaced, ...]
    sheet: str | None
    sheet_of: str | None

    def __post_init__(self) -> None:
        check_types(self)
        _check_file(self.sheet)


@dataclass(frozen=True)
class IouRow:
    """A concept's rank correlation of effects and IoU, and the first units of both rankings."""

    concept: str
    category: str
    rank_correlation: float
    shared: int
    by_effect: str
    by_iou: str

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class CausalRecord:
    """The sweep of every unit of a layer."""

    layer: str
    units: int
    removed: str
    inserted: str
    images: int
    beside_iou: tuple[IouRow, ...]

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class MapRecord:
    """Units inserted at every place."""

    layer: str
    units: tuple[int, ...]
    change: str
    concept: str
    images: int
    rows: int
    columns: int
    figure: str

    def __post_init__(self) -> None:
        check_types(self)
        _check_file(self.figure)


@dataclass(frozen=True)
class InterventionsRecord:
    """All of it."""

    schema: int
    unitlens: str
    command: str | None
    network: str
    network_sha256: str
    latents: str
    concepts: tuple[str, ...]
    warnings: tuple[str, ...]
    sets: tuple[SetRecord, ...]
    sweeps: tuple[CausalRecord, ...]
    maps: tuple[MapRecord, ...]

    def __post_init__(self) -> None:
        check_types(self)
        if self.schema != SCHEMA:
            raise UnitlensError(f"interventions.json has the schema {self.schema}; this version reads {SCHEMA}.")


def _check_file(name: str | None) -> None:
    """A file lies in the folder of images and nowhere else."""
    if name is not None and (PurePosixPath(name).name != name or "\\" in name or not name.endswith(".png")):
        raise UnitlensError(f"{name} is not the name of an image of interventions.")
