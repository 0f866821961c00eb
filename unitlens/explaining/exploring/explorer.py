"""A classifier, its dissection and images, to be explored image by image."""

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from unitlens.ablation.activity import LayerValues
from unitlens.ablation.interventions import Replacement
from unitlens.ablation.replay.cut import replayed_share
from unitlens.ablation.replay.edits import UnitEdit
from unitlens.ablation.replay.replayed import MeasuredImages, Replays
from unitlens.data.batches import Batch, Batches
from unitlens.data.concepts import Data, described
from unitlens.data.pixels.files import UnreadableError
from unitlens.data.readers.given import GivenImages
from unitlens.data.reading import Reading, Subset
from unitlens.dissection.result import Dissection
from unitlens.errors import UnitlensError
from unitlens.explaining.asked import AskedLayer, map_reader, output_classes
from unitlens.explaining.exploring.viewed import Between, Viewed, go_on
from unitlens.explaining.reasons import Reasons
from unitlens.models.bases import BasisLike
from unitlens.models.layers import display_name
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.stats.scores import Floats

VIEWED = 4
"""So many images are kept as they went through the network: the last ones."""

READ = 64
"""So many images are kept as they were read."""

Position = Literal["off", "mean", "on"]
"""Where a unit is switched to: 0; its mean over the images of the run; its threshold."""

POSITIONS: tuple[Position, ...] = get_args(Position)


class Entry(NamedTuple):
    """An image of the data.

    Attributes
    ----------
    number : int
        Its place, from 0.
    name : str
    class_ : str or None
        Its own class, where the data say it.
    """

    number: int
    name: str
    class_: str | None


class Page(NamedTuple):
    """Some images of the data, and the place of the image to go on with; that behind the last one at the end."""

    entries: tuple[Entry, ...]
    go_on_at: int


class Explorer:
    """A classifier, cut at one layer, with what a dissection says of its units, and the images of its data.

    It is not for several threads at a time, but other work may be done with it whenever a function calls ``between``.

    Parameters
    ----------
    net : Network
    dissection : Dissection
        Of this network.
    data : Data
    layer : str
        One of the dissection.
    basis : matrix, file of one, or Dictionary, optional
        The directions that are its units, of a dissection with a basis.

    Attributes
    ----------
    labelled : LabelledUnits
        What the dissection says of the units.
    place : str
        The layer as the network calls it.
    classes : Classes
        What the network's outputs are called.
    positions : tuple of str
        Where its units can be switched to: heads of attention, of which a dissection has the lengths alone, only off.
    image_classes : tuple of str or None
        The classes that the data name; None where they do not list them, so that images have to be read.

    Raises
    ------
    UnitlensError
        If the layer was not dissected, the dissection is of another network, or the network does not return scores of
        classes.

    Examples
    --------
    >>> import unitlens as ul
    >>> net, data = ul.load("bundled:scenes"), ul.Scenes(24)
    >>> explorer = Explorer(net, ul.dissect(net, "relu6", data, exemplars=0), data, "relu6")
    >>> explorer.view(0).with_edits([explorer.edit([3, 17], "off")]).shape
    (12,)
    """

    def __init__(
        self, net: Network, dissection: Dissection, data: Data, layer: str, *, basis: BasisLike | None = None
    ) -> None:
        self.net, self.dissection, self.data, self.layer = net, dissection, data, layer
        asked = AskedLayer.of(net, dissection, layer, basis)
        self.labelled, self.place = asked.labelled, asked.place
        self.positions: tuple[Position, ...] = ("off",) if asked.of_heads(net) else POSITIONS
        self.classes = output_classes(net, data)
        description = described(data)
        listed = description.classes or ()
        known = tuple(dict.fromkeys(str(class_) for class_ in listed if class_ is not None))
        self.image_classes = None if description.classes is None else known
        self._entries: dict[int, Entry] = {}
        if description.names is not None and len(description.names) == len(listed) == len(data):
            for number, (name, class_) in enumerate(zip(description.names, listed, strict=True)):
                self._entries[number] = Entry(number, name, None if class_ is None else str(class_))
        self._predicted: dict[int, int] = {}
        self._reasons = Reasons(
            labelled=self.labelled,
            maps=map_reader(net, dissection, asked),
            settings=dissection.settings,
            class_=None,
            top=0,
            most=0,
            shown=net.preprocessing.shown,
        )
        self._replays = Replays(net, (asked.place,), (LayerValues(Replacement(0.0)),), None, total=1, basis=asked.basis)
        self._share: float | None = None
        self._read = lru_cache(READ)(self._read_image)
        self.view = lru_cache(VIEWED)(self._view)

    def _view(self, image: int | GivenImages) -> Viewed:
        """One image that goes through the network once; the last ones are kept.

        Parameters
        ----------
        image : int or GivenImages
            The number of one of the data; or one image that was given.

        Raises
        ------
        UnitlensError
            If there is no such image, it cannot be read, or the network fails.
        """
        batch = self._read(image) if isinstance(image, int) else self._only(image)
        inputs = self.net.prepare(batch.images)
        replayed = self._replays.on(MeasuredImages(batch, np.array([0]), inputs))
        self._reasons.start(
            self.net, self.data, replayed.images, replayed.output, replayed.activation(self.place).shape[1]
        )
        if self._share is None:
            self._share = replayed_share(replayed.cut, inputs)
        return Viewed(replayed, self._reasons, self._share)

    def entry(self, number: int) -> Entry:
        """The name and the class of an image of the data.

        Raises
        ------
        UnitlensError
            If there is no such image, or it cannot be read.
        """
        if number not in self._entries:
            batch = self._read(number)
            class_ = batch.classes[0]
            self._entries[number] = Entry(number, batch.names[0], None if class_ is None else str(class_))
        return self._entries[number]

    def pixels(self, number: int) -> npt.NDArray[np.uint8]:
        """An image of the data as the network sees it, and as it is shown, (height, width, 3)."""
        pixels: npt.NDArray[np.uint8] = self._reasons.shown(self._read(number).images)[0].permute(1, 2, 0).numpy()
        return pixels

    def is_wrong(self, number: int) -> bool:
        """Whether the network predicts another class than an image's own; of images without one, no."""
        own = self.output_of(self.entry(number).class_)
        if own is None:
            return False
        if number not in self._predicted:
            with evaluating(self.net.model):
                outputs = self.net.model(self.net.prepare(self._read(number).images))
            self._predicted[number] = int(outputs[0].argmax())
        return self._predicted[number] != own

    def page(
        self,
        start: int = 0,
        *,
        count: int = 24,
        class_: str | None = None,
        wrong: bool = False,
        between: Between = go_on,
    ) -> Page:
        """The next images of the data, from one on; those that cannot be read are left out.

        Parameters
        ----------
        start : int
            The number of the first image that is looked at.
        count : int
            So many at most.
        class_ : str, optional
            Of this class.
        wrong : bool
            Of which the network predicts another class than their own.
        between : callable
            See `Between`; called for each image that is looked at.
        """
        entries: list[Entry] = []
        for number in range(start, len(self.data)):
            if len(entries) == count:
                return Page(tuple(entries), number)
            between(1)
            with suppress(UnreadableError):
                entry = self.entry(number)
                if class_ in (None, entry.class_) and (not wrong or self.is_wrong(number)):
                    entries.append(entry)
        return Page(tuple(entries), len(self.data))

    def values(self, position: Position) -> Floats:
        """What each unit is set to at a position of its switch, (U,); NaN where it has no threshold."""
        if position == "off":
            return np.zeros(len(self.labelled))
        if position == "mean":
            return np.array(self.dissection.info["layers"][self.layer]["mean"], np.float64)
        thresholds = self.labelled.thresholds
        return np.where(np.isfinite(thresholds), thresholds, np.nan)

    def edit(
        self,
        units: Sequence[int],
        position: Position,
        positions: npt.NDArray[np.bool_] | None = None,
        *,
        strength: float = 1.0,
    ) -> UnitEdit:
        """Units that are switched, as an edit.

        Parameters
        ----------
        units : sequence of int
        position : {"off", "mean", "on"}
            To 0, to their means over the images of the run, or to their thresholds.
        positions : bool array, (h, w), optional
            Where in the layer; everywhere, unless given.
        strength : float
            How far, from 0 to 1.

        Raises
        ------
        UnitlensError
            If a unit is not there, has no threshold to be set to, or cannot be set there.
        """
        self.check_units(units)
        if position not in self.positions:
            raise UnitlensError(
                f"The units of {self.layer} are heads of attention, of several numbers each, and the run has the means "
                "and thresholds of their lengths alone: switch them off."
            )
        values = self.values(position)
        without = [unit for unit in units if np.isnan(values[unit])]
        if without:
            raise UnitlensError(
                f"Unit {without[0]} has no threshold, so that it cannot be set to it: set it to its mean."
            )
        return UnitEdit.at(self.place, units, values[list(units)].tolist(), positions, strength=strength)

    def check_units(self, units: Sequence[int]) -> None:
        """Make sure that the layer has some units.

        Raises
        ------
        UnitlensError
            If it has not.
        """
        count = len(self.labelled)
        outside = [unit for unit in units if not 0 <= unit < count]
        if outside:
            layer = display_name(self.layer)
            raise UnitlensError(f"{layer} has units 0 to {count - 1}; {outside[0]} is not among them.")

    def output_of(self, class_: str | None) -> int | None:
        """The output of a class of the data; None where it is none of the network's."""
        if class_ is None:
            return None
        with suppress(UnitlensError):
            return self.classes.output(class_)
        return None

    def _read_image(self, number: int) -> Batch:
        if not 0 <= number < len(self.data):
            raise UnitlensError(f"There is no image {number}; the data have images 0 to {len(self.data) - 1}.")
        return self._only(Subset(self.data, [number]))

    def _only(self, data: Data) -> Batch:
        """The one image of some data."""
        return next(iter(Batches(data, self.net.preprocessing, Reading(batch_size=1, strict=True), task="reading")))
