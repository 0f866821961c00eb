"""Exemplars drawn again from the original images, larger than the network takes them; nothing of a run changes."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from unitlens.data.batches import Batches
from unitlens.data.concepts import Data
from unitlens.data.inmemory.dataset import as_data
from unitlens.data.readers.given import images_of
from unitlens.data.reading import Reading, Subset
from unitlens.dissection.exemplars.pictured import pictured_units
from unitlens.dissection.files import RunFiles
from unitlens.dissection.reopening import Reopening, check_network, regrouped, run_basis
from unitlens.dissection.result import Dissection
from unitlens.dissection.settings import Settings
from unitlens.drawing.strips import draw_strip, tile_masks
from unitlens.errors import UnitlensError, argument
from unitlens.models.activations import Readout, reader
from unitlens.models.bases import BasisLike, Coding
from unitlens.models.layers import display_name
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.models.preprocessing import Preprocessing
from unitlens.progress import progress as progress_bar
from unitlens.stats.masks import at_most_grid

FULL = 512
"""Side of a tile in pixels, unless another one is asked for."""

LARGEST = 2048
"""So large a tile is at most."""

QUALITY = 90
"""Of the JPEG; that of the tiles which a run keeps is 75."""

_UNITS = 16
"""So many units are drawn at a time: their images, 128 at most of eight each, are in memory together."""

_OFF, _OFF_FAST = 0.02, 0.1
"""How far a peak may be from what the run says, as a share of the unit's largest: other machines round otherwise."""


class UnitExemplars(NamedTuple):
    """What a run says of the exemplars of a unit.

    Attributes
    ----------
    unit : int
    threshold : float
    images : tuple of str
        By rank.
    peaks : tuple of float
        The unit's largest activation on each.
    """

    unit: int
    threshold: float
    images: tuple[str, ...]
    peaks: tuple[float, ...]


@dataclass(frozen=True)
class Originals:
    """The network and the images of a run, opened again.

    Attributes
    ----------
    net : Network
    data : Data
    basis : Coding or None
        Directions that are the run's units.
    size : int
        Side of a tile in pixels.
    images : int or None
        So many exemplars of each unit are drawn; None: all that the run has.
    show : bool
        Whether progress is shown.

    Raises
    ------
    UnitlensError
        If no tile can have that size, or the network draws its images itself.
    """

    net: Network
    data: Data
    basis: Coding | None = None
    size: int = FULL
    images: int | None = None
    show: bool = False

    def __post_init__(self) -> None:
        if not 16 <= self.size <= LARGEST:
            raise UnitlensError(
                f"{argument('size', self.size)} is the side of an image in pixels: 16 to {LARGEST}, such as {FULL}."
            )
        if self.images is not None and self.images < 1:
            raise UnitlensError(f"{argument('images', self.images)} must be 1 or more.")
        if self.net.image == "output":
            raise UnitlensError(
                f"{self.net.name} draws the images of the run itself, at {' x '.join(map(str, self.image_size))}: "
                "there are no larger ones."
            )

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        return self.net.preprocessing.image_size


def redrawn(
    dissection: Dissection,
    units: Sequence[int] | None = None,
    *,
    net: Network | nn.Module | None = None,
    data: Data | str | Path | None = None,
    basis: BasisLike | None = None,
    size: int = FULL,
    images: int | None = None,
    trust: bool = False,
    progress: bool = False,
) -> Dissection:
    """Draw the exemplars of units again from the original images, for figures and pages that are sharp.

    The images are squashed or cropped as the network takes them, but as large as asked; a pass over these images alone
    gives the masks. Nothing of a saved run changes.

    Parameters
    ----------
    dissection : Dissection
    units : sequence of int, optional
        Of every layer these; by default all or, of thousands, those that the page shows with images.
    net : Network or torch.nn.Module, optional
        The network that was dissected; by default it is loaded again as recorded in the run.
    data : Data, str or Path, optional
        The images of the run, or where they are now; by default they are opened again as recorded in the run.
    basis : matrix or file of one, optional
        The directions that are the units, where the run was of a basis and does not name its file.
    size : int
        Side of each image in pixels.
    images : int, optional
        So many exemplars of each unit; all that the run has.
    trust : bool
        Whether network and images may be opened again where that runs code that the run names, or downloads.
    progress : bool
        Whether progress is shown.

    Returns
    -------
    Dissection
        The same, whose ``strip``, ``show`` and page have these images.

    Raises
    ------
    UnitlensError
        If there is no such unit, the network or the images are not those of the run, or cannot be opened, opening them
        would run code or download and ``trust`` is not set, or the network draws its images itself.

    Examples
    --------
    >>> import unitlens as ul
    >>> net, data = ul.load("bundled:scenes"), ul.Scenes(48)
    >>> d = ul.dissect(net, "relu6", data, evidence=False)
    >>> figure = ul.redrawn(d, [7], net=net, data=data, size=448, images=2).show(7)
    """
    run = dissection.files()
    source = data if isinstance(data, str | Path) else None
    reopening = Reopening.of(run.info, source=source, groups=run.groups)
    reopening.check(trust=trust, network=net is None, data=data is source)
    net = reopening.open_network(trust=trust) if net is None else check_network(net, run.info)
    directions = run_basis(dissection.settings, basis)
    if data is None or isinstance(data, str | Path):
        opened = reopening.open_data(trust=trust)
    else:
        opened = regrouped(as_data(data), reopening.groups)
    originals = Originals(net, opened, directions, size, images, progress)
    return dissection.with_strips(redrawn_strips(run, dissection.settings, originals, units))


def redrawn_strips(
    run: RunFiles, settings: Settings, originals: Originals, units: Sequence[int] | None
) -> dict[tuple[str, int], bytes]:
    """Draw the strips of a run's units again.

    Parameters
    ----------
    run : RunFiles
    settings : Settings
        Of the run.
    originals : Originals
    units : sequence of int or None
        Of every layer of the run these; None: those that the run's page shows with images.

    Returns
    -------
    dict of (str, int) to bytes
        As `unitlens.drawing.strips.draw_strip` returns them, by layer and unit; units without exemplars are left out.

    Raises
    ------
    UnitlensError
        If there is no such unit, or an image is not in the data, cannot be read, or is not what it was in the run.
    """
    missing = sorted(set(units or ()) - set(run.units["unit"].tolist()))
    if missing:
        raise UnitlensError(f"There is no unit {missing[0]}; the run has units 0 to {run.units['unit'].max()}.")
    pictured = pictured_units(run.units, exemplar_size=settings.exemplar_size)
    asked = {}
    for layer in run.info["layers"]:
        chosen = {unit for of_layer, unit in pictured if of_layer == layer} if units is None else set(units)
        asked[layer] = _unit_exemplars(run, layer, chosen, originals.images)
    names = list(dict.fromkeys(name for of_layer in asked.values() for one in of_layer for name in one.images))
    if not names:
        return {}
    originals = replace(originals, data=images_of(originals.data, names=names))
    place = {name: index for index, name in enumerate(names)}
    strips = {}
    with progress_bar(sum(map(len, asked.values())), "drawing", unit="units", show=originals.show) as bar:
        for layer, of_layer in asked.items():
            for first in range(0, len(of_layer), _UNITS):
                block = of_layer[first : first + _UNITS]
                for unit, strip in _drawn(layer, block, settings, originals, place):
                    strips[layer, unit] = strip
                    bar.update(1)
    return strips


def _unit_exemplars(run: RunFiles, layer: str, units: Set[int], count: int | None) -> list[UnitExemplars]:
    """What a run says of the exemplars of some units of a layer, of those that have any."""
    table = run.units[run.units["layer"] == layer]
    thresholds = dict(zip(table["unit"].tolist(), table["threshold"].tolist(), strict=True))
    rows = run.exemplars[(run.exemplars["layer"] == layer) & run.exemplars["unit"].isin(units)]
    found = []
    for _, ranked in rows.sort_values(["unit", "rank"]).groupby("unit"):
        best, unit = ranked.iloc[:count], int(ranked["unit"].iloc[0])
        names, peaks = tuple(best["image"]), tuple(best["value"].tolist())
        found.append(UnitExemplars(unit, thresholds[unit], names, peaks))
    return found


def _drawn(
    layer: str, block: Sequence[UnitExemplars], settings: Settings, originals: Originals, place: Mapping[str, int]
) -> Iterator[tuple[int, bytes]]:
    """Draw the strips of a few units of a layer, whose images are read twice: as the network takes them, and larger."""
    names = list(dict.fromkeys(name for one in block for name in one.images))
    some = replace(originals, data=Subset(originals.data, [place[name] for name in names]))
    pixels = dict(zip(names, _pixels(some), strict=True))
    maps = dict(zip(names, _maps(some, layer, [one.unit for one in block], settings), strict=True))
    for number, one in enumerate(block):
        of_unit = torch.stack([maps[name][number] for name in one.images])
        _check_peaks(layer, one, of_unit, off=_OFF if settings.fast is None else _OFF_FAST)
        # As the run has them: where the layer is finer than the label grid, on this grid.
        kept = at_most_grid(of_unit[:, None], settings.grid)[:, 0].numpy()
        masks = tile_masks(kept, one.threshold, originals.size)
        shown = np.stack([pixels[name] for name in one.images])
        yield one.unit, draw_strip(shown, masks, size=originals.size, quality=QUALITY)


def _pixels(originals: Originals) -> npt.NDArray[np.uint8]:
    """Images as they are shown, cut or squashed as the network takes them, but larger, (K, height, width, 3)."""
    larger = enlarged_input(originals.net.preprocessing, originals.size)
    shown = [larger.shown(batch.images) for batch in _batches(originals, larger)]
    pixels: npt.NDArray[np.uint8] = torch.cat(shown).permute(0, 2, 3, 1).numpy()
    return pixels


def enlarged_input(preprocessing: Preprocessing, size: int) -> Preprocessing:
    """The same geometry, both sides of the input at least ``size`` and a whole number of times as large.

    Examples
    --------
    >>> enlarged_input(Preprocessing((224, 224), 256, (0.5,), (0.5,)), 512).image_size
    (672, 672)
    """
    times = -(-size // min(preprocessing.image_size))
    height, width = preprocessing.image_size
    resize = None if preprocessing.resize is None else times * preprocessing.resize
    return replace(preprocessing, image_size=(times * height, times * width), resize=resize)


def _maps(originals: Originals, layer: str, units: Sequence[int], settings: Settings) -> list[Tensor]:
    """Activations of some units on each image, (units, h, w), as the pass of the run reads them."""
    net = originals.net
    readout = Readout((layer,), settings.tap, settings.layout, originals.basis)
    run = reader(net, readout, outputs=False)
    found: list[Tensor] = []
    with evaluating(net.model):
        for batch in _batches(originals, net.preprocessing):
            maps = run(net.prepare(batch.images)).maps[layer][:, list(units)]
            found += maps.float().nan_to_num(0, 0, 0).cpu().unbind()
    return found


def _batches(originals: Originals, preprocessing: Preprocessing) -> Batches:
    """The images in their order, each of which has to be there."""
    return Batches(originals.data, preprocessing, Reading(batch_size=_UNITS, strict=True))


def _check_peaks(layer: str, one: UnitExemplars, maps: Tensor, *, off: float) -> None:
    """Make sure that the images are those of the run: the unit is as active on them as it was.

    Raises
    ------
    UnitlensError
        If it is not.
    """
    peaks, recorded = maps.flatten(1).amax(1).double().numpy(), np.array(one.peaks)
    wrong = np.flatnonzero(np.abs(peaks - recorded) > off * np.abs(recorded).max())
    if len(wrong):
        first = int(wrong[0])
        raise UnitlensError(
            f"{one.images[first]} is not what it was in the run: on it, the peak of unit {one.unit} of "
            f"{display_name(layer)} is {peaks[first]:.4g}, and was {recorded[first]:.4g}. Give the images of the run "
            f"with {argument('data')}."
        )
