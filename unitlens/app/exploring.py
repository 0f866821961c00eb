"""The page on which a person switches the units of a classifier and watches its answer."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from unitlens.ablation.replay.edits import UnitEdit
from unitlens.app.answers import Progress, answer, answer_with_progress, asked, exemplars
from unitlens.app.explored import (
    class_changes,
    describe_switched,
    described_layer,
    described_reasons,
    encoded_maps,
    image_file,
)
from unitlens.app.finding import Query, UnitSearch, search_of
from unitlens.app.recent import Recent
from unitlens.app.turns import Task, Turns
from unitlens.data.concepts import Data
from unitlens.data.images import decode_image
from unitlens.data.readers.given import GivenImages
from unitlens.dissection.result import Dissection
from unitlens.errors import UnitlensError, is_number
from unitlens.explaining.exploring.explorer import Explorer, Position
from unitlens.explaining.exploring.viewed import Between, Viewed
from unitlens.models.bases import Coding
from unitlens.models.network import Network
from unitlens.pages.explanations import describe_smallest
from unitlens.pages.formats import base_name
from unitlens.records import check_range, check_types

MOST_PIXELS = 50_000_000
"""Of an image that is sent."""

KEPT_BYTES = 1 << 28
"""Of images that were sent."""

MOST_ENTRIES = 60
"""Images that are listed at a time."""

MOST_MAPS = 64
"""Units whose maps are sent at a time."""

THUMBNAIL = 96

LAYERS = 4
"""So many layers are kept ready."""


@dataclass(frozen=True)
class SeenImage:
    """An image through a layer.

    Attributes
    ----------
    layer : str
    image : str
        The number of one of the data, or the name that the server gave one that was sent.
    """

    layer: str
    image: str

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class FollowedClass(SeenImage):
    """The same, and the output that is followed; None: the predicted one."""

    class_: int | None


@dataclass(frozen=True)
class SomeUnits(SeenImage):
    """The same, and some units."""

    units: tuple[int, ...]

    def __post_init__(self) -> None:
        check_types(self)
        if len(self.units) > MOST_MAPS:
            raise UnitlensError(f"Maps of {len(self.units)} units are asked for; {MOST_MAPS} are the most at a time.")


@dataclass(frozen=True)
class Switch:
    """Units that are switched: off, to their means, or on, which is to their thresholds."""

    units: tuple[int, ...]
    position: Position

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class SwitchedUnits(SeenImage):
    """The same image, with units switched.

    Attributes
    ----------
    class_ : int or None
        The output of which the sentence speaks; None: the predicted one.
    switches : tuple of Switch
        At most one for each position.
    grid : (int, int) or None
        Rows and columns of the layer, where units are held at some positions only.
    mask : str
        These, as in `UnitEdit`.
    """

    class_: int | None
    switches: tuple[Switch, ...]
    grid: tuple[int, int] | None
    mask: str

    def __post_init__(self) -> None:
        check_types(self)
        if len({switch.position for switch in self.switches}) < len(self.switches):
            raise UnitlensError("A request names each position of switches once, with all units that are there.")


@dataclass(frozen=True)
class Listing:
    """Which images are listed: from one on, of a class, wrong ones alone, so many."""

    layer: str
    start: int
    count: int
    class_: str | None
    wrong: bool

    def __post_init__(self) -> None:
        check_types(self)
        check_range("start", self.start, 0, 1 << 62)
        check_range("count", self.count, 1, MOST_ENTRIES)


class ExploringPage:
    """Exploring the classifier of a run.

    Parameters
    ----------
    name : str
        Of the run.
    net : Network
    dissection : Dissection
        Of this network.
    data : Data
    layers : sequence of str
        Of the dissection; the last one, which lies deepest as a rule, is shown first.
    basis : Coding, optional
        The directions that are the units, of a dissection with a basis.
    search : UnitSearch, optional
        The units in the space of an encoder of images and words, where words have named them.

    Attributes
    ----------
    turns : Turns

    Raises
    ------
    UnitlensError
        If that layer cannot be explored.
    """

    files = (
        "explore.html",
        "explore.css",
        "explore.js",
        *("view.js", "gallery.js", "classes.js", "units.js", "find.js", "picture.js", "masks.js"),
    )

    def __init__(
        self,
        name: str,
        net: Network,
        dissection: Dissection,
        data: Data,
        layers: Sequence[str],
        *,
        basis: Coding | None = None,
        search: UnitSearch | None = None,
    ) -> None:
        self.name, self.net, self.dissection, self.data, self.layers = name, net, dissection, data, tuple(layers)
        self.basis, self.search = basis, search
        self.turns = Turns()
        self._sent = Recent[GivenImages](_bytes, most=KEPT_BYTES)
        self._explorer = lru_cache(LAYERS)(self._open_layer)
        self._explorer(self.layers[-1])

    @property
    def routes(self) -> Sequence[Route]:
        """What the page asks for."""
        return (
            Route("/api/run", self._run),
            Route("/api/layer", self._layer),
            Route("/api/images", self._images, methods=["POST"]),
            Route("/api/image", self._image),
            Route("/api/upload", self._upload, methods=["POST"]),
            Route("/api/switch", self._switch, methods=["POST"]),
            Route("/api/reasons", self._reasons, methods=["POST"]),
            Route("/api/smallest", self._smallest, methods=["POST"]),
            Route("/api/find", self._find, methods=["POST"]),
            Route("/api/maps", self._maps, methods=["POST"]),
            Route("/api/unit", self._unit),
        )

    async def _run(self, request: Request) -> Response:
        return await answer(self.turns, self._described)

    async def _layer(self, request: Request) -> Response:
        return await answer(self.turns, partial(self._described_layer, request.query_params.get("layer", "")))

    async def _images(self, request: Request) -> Response:
        return answer_with_progress(self.turns, partial(self._listed, await asked(request, Listing)))

    async def _image(self, request: Request) -> Response:
        image, size = request.query_params.get("image", ""), request.query_params.get("size", "")
        return await answer(self.turns, partial(self._drawn, image, THUMBNAIL if size == "small" else None))

    async def _upload(self, request: Request) -> Response:
        content, name = await request.body(), request.query_params.get("name", "the image")[:200]
        return await answer(self.turns, partial(self._received, content, name))

    async def _switch(self, request: Request) -> Response:
        return await answer(self.turns, partial(self._switched, await asked(request, SwitchedUnits)))

    async def _reasons(self, request: Request) -> Response:
        return answer_with_progress(self.turns, partial(self._reasons_of, await asked(request, FollowedClass)))

    async def _smallest(self, request: Request) -> Response:
        return answer_with_progress(self.turns, partial(self._smallest_set, await asked(request, SeenImage)))

    async def _find(self, request: Request) -> Response:
        return await answer(self.turns, partial(self._found, await asked(request, Query)))

    async def _maps(self, request: Request) -> Response:
        return await answer(self.turns, partial(self._maps_of, await asked(request, SomeUnits)))

    async def _unit(self, request: Request) -> Response:
        return exemplars(self.dissection, request)

    def _open_layer(self, layer: str) -> Explorer:
        return Explorer(self.net, self.dissection, self.data, layer, basis=self.basis)

    def _described(self, task: Task) -> Mapping[str, Any]:
        """What the page is told of the run."""
        with task.turn():
            first = self._explorer(self.layers[-1])
        return {
            "run": self.name,
            "network": base_name(self.net.name),
            "layers": self.layers,
            "classes": first.classes.names,
            "images": len(self.data),
            "image_classes": first.image_classes,
            "image": self.net.preprocessing.image_size,
            "search": None if self.search is None else self.search.described(),
        }

    def _described_layer(self, layer: str, task: Task) -> Mapping[str, Any]:
        with task.turn():
            return described_layer(self._explorer(layer))

    def _listed(self, asked: Listing, task: Task, progress: Progress) -> Mapping[str, Any]:
        with _blocks(task, progress, most=len(self.data) - asked.start) as between:
            page = self._explorer(asked.layer).page(
                asked.start, count=asked.count, class_=asked.class_, wrong=asked.wrong, between=between
            )
        return {"images": [entry._asdict() for entry in page.entries], "go_on_at": page.go_on_at}

    def _drawn(self, image: str, size: int | None, task: Task) -> Response:
        with task.turn():
            pixels = self._pixels(image)
        return image_file(pixels, size)

    def _received(self, content: bytes, name: str, task: Task) -> Mapping[str, Any]:
        pixels = decode_image(content, name, most_pixels=MOST_PIXELS, bands=self.net.preprocessing.count)
        key = f"sent-{hashlib.sha256(content).hexdigest()[:24]}"
        self._sent.put(key, GivenImages((pixels,), (name,)))
        return {"image": key, "name": name}

    def _switched(self, asked: SwitchedUnits, task: Task) -> Mapping[str, Any]:
        with task.turn():
            explorer, viewed = self._viewed(asked)
            before, after = viewed.logits, viewed.with_edits(_edits(explorer, asked))
        predicted = int(before.argmax())
        followed = _followed(asked.class_, explorer)
        followed = predicted if followed is None else followed
        groups: dict[str, Sequence[int]] = {switch.position: switch.units for switch in asked.switches if switch.units}
        names, partly = explorer.classes.names, asked.grid is not None
        own = explorer.output_of(viewed.class_)
        return {
            "name": viewed.name,
            "class": viewed.class_,
            "own": own,
            "grid": viewed.grid,
            "predicted": [predicted, int(after.argmax())],
            "followed": followed,
            "classes": class_changes(before, after, names, also=[followed, *([] if own is None else [own])]),
            "sentence": describe_switched(groups, before, after, names, followed=followed, partly=partly),
        }

    def _reasons_of(self, asked: FollowedClass, task: Task, progress: Progress) -> Mapping[str, Any]:
        with task.turn():
            explorer, viewed = self._viewed(asked)
        class_, labelled = _followed(asked.class_, explorer), explorer.labelled
        with _blocks(task, progress, most=len(labelled) + len(labelled.concepts) + 1) as between:
            return described_reasons(viewed.explain(class_, between=between), explorer)

    def _smallest_set(self, asked: SeenImage, task: Task, progress: Progress) -> Mapping[str, Any]:
        with task.turn():
            explorer, viewed = self._viewed(asked)
        with _blocks(task, progress, most=viewed.longest_search) as between:
            found = viewed.smallest_set(between=between)
        return {
            "units": () if found.found is None else found.found.units,
            "sentence": describe_smallest(found, explorer.classes.names),
        }

    def _found(self, asked: Query, task: Task) -> Mapping[str, Any]:
        search = search_of(self.search)
        with task.turn():
            return search.found(asked, self._pixels)

    def _maps_of(self, asked: SomeUnits, task: Task) -> Mapping[str, Any]:
        with task.turn():
            explorer, viewed = self._viewed(asked)
            explorer.check_units(asked.units)
            return encoded_maps(viewed.maps(asked.units))

    def _viewed(self, asked: SeenImage) -> tuple[Explorer, Viewed]:
        explorer = self._explorer(asked.layer)
        return explorer, explorer.view(self._given(asked.image))

    def _pixels(self, image: str) -> npt.NDArray[np.uint8]:
        """An image as the network sees it, (height, width, 3)."""
        given = self._given(image)
        explorer = self._explorer(self.layers[-1])
        return explorer.pixels(given) if isinstance(given, int) else explorer.view(given).pixels

    def _given(self, image: str) -> int | GivenImages:
        """An image of the data by its number, or one that was sent."""
        if is_number(image):
            return int(image)
        sent = self._sent.get(image)
        if sent is None:
            raise UnitlensError("This image was dropped on the page before, and is not kept any more: drop it again.")
        return sent


def _followed(class_: int | None, explorer: Explorer) -> int | None:
    if class_ is not None:
        check_range("class_", class_, 0, len(explorer.classes.names) - 1)
    return class_


def _edits(explorer: Explorer, asked: SwitchedUnits) -> list[UnitEdit]:
    """The switches as edits; positions that have no units in them are none."""
    made = [explorer.edit(switch.units, switch.position) for switch in asked.switches if switch.units]
    return [replace(edit, grid=asked.grid, mask=asked.mask) for edit in made]


@contextmanager
def _blocks(task: Task, progress: Progress, *, most: int) -> Iterator[Between]:
    """A turn, which others have between blocks of the work; and how far it is, of the most that it can be."""
    done = 0
    with ExitStack() as held:
        held.enter_context(task.turn())

        def between(more: int) -> None:
            nonlocal done
            done += more
            progress(min(1.0, done / max(1, most)))
            held.close()
            held.enter_context(task.turn())

        yield between


def _bytes(sent: GivenImages) -> int:
    return sum(image.nbytes for image in sent.images if isinstance(image, np.ndarray))
