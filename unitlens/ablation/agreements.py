"""How well cheap guesses at the use of units agree with exact effects: measured on a few images, saved, read back."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitlens.ablation.attribution import AGREEMENT_COLUMNS, agreement_by_class, attributions
from unitlens.ablation.experiment import Experiment
from unitlens.ablation.holding import Holding
from unitlens.data.concepts import Data, Example
from unitlens.errors import UnitlensError, UnitlensWarning, argument
from unitlens.files import write_whole

if TYPE_CHECKING:
    import pandas as pd

TABLE = "effects.attributions.csv"

IMAGES = 64
"""On so many images at most, evenly spread: each takes about as long as 50 passes of the network."""

TOP = 20
"""Of so many most important units the overlap is told, but of no more than a quarter of the layer's."""


class Spread:
    """Every so many-th image of some data, so that a few stand for all of them."""

    def __init__(self, data: Data, count: int, total: int) -> None:
        """Take ``count`` of the first ``total`` images."""
        self.places = [place * total // count for place in range(count)]
        self.data = data
        self.concepts: Any = data.concepts
        self.source = str(getattr(data, "source", repr(data)))
        # what the data say of their classes, where they do: else classes are looked for in every image
        for name in ("classes", "class_index"):
            if hasattr(data, name):
                setattr(self, name, getattr(data, name))

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Example:
        return self.data[self.places[index]]


def measure_agreement(run: Experiment, holding: Holding, *, images: int = IMAGES, top: int = TOP) -> "pd.DataFrame":
    """Hold captum's layer attributions against the exact effects, on the same few images.

    Parameters
    ----------
    run : Experiment
        Network, layer and data.
    holding : Holding
        What units are held at for the exact effect; attributions know of no such thing.
    images : int
        How many at most, evenly spread over the data.
    top : int
        Of how many most important units the overlap is told; at most a quarter of the layer's.

    Returns
    -------
    pandas.DataFrame
        A row a method and class, with the columns `unitlens.ablation.attribution.AGREEMENT_COLUMNS`.

    Raises
    ------
    UnitlensError
        If captum cannot attribute to the layer.
    """
    (layer,), reading = run.layers, run.reading
    total = len(run.data) if reading.limit is None else min(reading.limit, len(run.data))
    data = Spread(run.data, min(images, total), total)
    size = min(reading.batch_size, 8)
    try:
        found = attributions(run.net, layer, data, batch_size=size, workers=reading.workers, progress=reading.show)
    except (RuntimeError, AssertionError, TypeError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise UnitlensError(
            f"captum cannot attribute to {layer} ({said[0]}): "
            f"leave {argument('agreement', option='--attributions')} out."
        ) from None
    with warnings.catch_warnings():
        # what there is to say of the network and the replay is said of the sweep over all images
        warnings.simplefilter("ignore", UnitlensWarning)
        exact = replace(run, data=data, reading=replace(reading, limit=None)).effects(None, holding)
    return agreement_by_class(found, exact, top=max(1, min(top, len(exact.sets) // 4)))


def write_agreement(folder: Path, by_class: "pd.DataFrame | None") -> None:
    """Write effects.attributions.csv; without any, one that is there goes, as it was of other effects."""
    if by_class is None:
        (folder / TABLE).unlink(missing_ok=True)
    else:
        write_whole(folder / TABLE, by_class.to_csv(index=False))


def read_agreement(folder: Path) -> "pd.DataFrame | None":
    """Read effects.attributions.csv; None where there is none.

    Raises
    ------
    UnitlensError
        If it is damaged.
    """
    import pandas as pd

    if not (folder / TABLE).is_file():
        return None
    try:
        table = pd.read_csv(folder / TABLE, dtype={"layer": str, "class": str}, keep_default_na=False)
        shares = dict.fromkeys(("spearman", "overlap", "chance"), float)
        return table[list(AGREEMENT_COLUMNS)].astype({**shares, "images": int, "top": int})
    except (OSError, ValueError, KeyError) as error:
        raise UnitlensError(f"{folder / TABLE} is damaged ({error}): measure the effects again.") from None
