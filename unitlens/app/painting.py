"""The page on which a person paints objects into and out of images that a network draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from unitlens.ablation.replay.edits import UnitEdit
from unitlens.app.answers import Progress, answer, answer_with_progress, asked, exemplars, png
from unitlens.app.finding import Query, UnitSearch, search_of
from unitlens.app.recent import Recent
from unitlens.app.turns import Task, Turns
from unitlens.data.concepts import Data, described, ious_of
from unitlens.data.drawn import DrawnConcepts
from unitlens.data.reading import Reading
from unitlens.dissection.result import Dissection
from unitlens.editing.causal_result import CausalEffects
from unitlens.editing.painting.palette import MOST_STRENGTH, Palette
from unitlens.editing.painting.recipe import EditRecipe
from unitlens.editing.painting.scenes import Painter, Scene, latent_of, scene_latents
from unitlens.editing.painting.typical import typical_activations
from unitlens.errors import UnitlensError, is_number
from unitlens.models.network import Network
from unitlens.pages.formats import image_uri
from unitlens.records import check_range, check_types
from unitlens.stats.scores import Floats

LOOKED_AT = 128
"""Images in which it is measured how active units are where a concept is drawn."""

MOST_STROKES = 200
"""On one scene."""

KEPT_BYTES = 1 << 28
"""Of scenes that have gone through the front of the network."""

KEPT_AREAS = 1 << 22
"""Bytes of the areas of concepts in scenes that nothing was painted on."""


@dataclass(frozen=True)
class Stroke:
    """Units of a concept, removed or added, at some positions of their layer.

    Attributes
    ----------
    concept : int
        Which one of the palette.
    units : tuple of int
    action : {"remove", "add"}
    strength : float
        From 0 to 3; see `PaletteConcept.values`.
    everywhere : bool
        At all positions; else at those of the mask.
    mask : str
        As that of `UnitEdit`; empty where it is everywhere.
    """

    concept: int
    units: tuple[int, ...]
    action: Literal["remove", "add"]
    strength: float
    everywhere: bool
    mask: str

    def __post_init__(self) -> None:
        check_types(self)
        check_range("a stroke's strength", self.strength, 0, MOST_STRENGTH)


@dataclass(frozen=True)
class PaintedScene:
    """All that the page shows: a scene, and the strokes on it.

    Attributes
    ----------
    scene : int
        The number of its latent.
    strokes : tuple of Stroke
        One after the other.
    """

    scene: int
    strokes: tuple[Stroke, ...]

    def __post_init__(self) -> None:
        check_types(self)
        if len(self.strokes) > MOST_STROKES:
            raise UnitlensError(
                f"The scene has {len(self.strokes)} strokes; {MOST_STROKES} are the most: undo some, or begin another."
            )


@dataclass(frozen=True, eq=False)
class PaintingPage:
    """Painting in the images of a run.

    Attributes
    ----------
    name : str
        Of the run.
    dissection : Dissection
    painter : Painter
    palette : Palette
    latents : Data
        Of the scenes.
    drawn : DrawnConcepts or None
        What says which concepts are where; None: nothing does, and no areas are shown.
    search : UnitSearch or None
        The units in the space of an encoder of images and words, where words have named them.
    turns : Turns
    """

    name: str
    dissection: Dissection
    painter: Painter
    palette: Palette
    latents: Data
    drawn: DrawnConcepts | None
    search: UnitSearch | None = None
    turns: Turns = field(default_factory=Turns)
    _scenes: Recent[Scene] = field(default_factory=lambda: Recent(_bytes, most=KEPT_BYTES), repr=False)

    _untouched: Recent[Floats] = field(
        default_factory=lambda: Recent(lambda areas: areas.nbytes, most=KEPT_AREAS), repr=False
    )

    files = ("paint.html", "paint.css", "paint.js", "brush.js", "cover.js", "areas.js", "find.js")

    @classmethod
    def of(
        cls,
        name: str,
        net: Network,
        dissection: Dissection,
        layers: Sequence[str],
        latents: Data,
        *,
        source: str,
        effects: Sequence[CausalEffects] = (),
        search: UnitSearch | None = None,
        looked_at: int = LOOKED_AT,
        progress: bool = False,
    ) -> "PaintingPage":
        """Prepare a run of a generator: cut it, and measure how active units are where concepts are drawn.

        Parameters
        ----------
        name : str
            Of the run.
        net, dissection, layers, latents
            Of the run; concepts are marked by what marked them for it.
        source : str
            The name of the latents, as run.json says it.
        effects : sequence of CausalEffects
            Of the run, where they were measured.
        search : UnitSearch, optional
            Of the run, where words have named its units.
        looked_at : int
            In so many images it is measured how active units are where each concept is drawn.
        progress : bool
            Whether a bar shows how far that is.
        """
        painter = Painter.of(net, layers)
        sources = described(latents).drawn_sources
        drawn = DrawnConcepts.of(sources) if sources else None
        scenes = scene_latents(latents, source)
        reading = Reading(limit=min(looked_at, len(latents)), progress=progress)
        typical = None if drawn is None else typical_activations(painter, drawn, latents, reading)
        parts = [dissection[layer] for layer in layers]
        palette = Palette.of(parts, typical=typical, ious=ious_of(sources), effects=effects)
        return cls(name, dissection, painter, palette, scenes, drawn, search)

    @property
    def routes(self) -> Sequence[Route]:
        """What the page asks for."""
        return (
            Route("/api/run", self._run),
            Route("/api/unit", self._unit),
            Route("/api/draw", self._draw, methods=["POST"]),
            Route("/api/areas", self._areas, methods=["POST"]),
            Route("/api/recipe", self._recipe, methods=["POST"]),
            Route("/api/find", self._find, methods=["POST"]),
        )

    async def _run(self, request: Request) -> Response:
        return await answer(self.turns, lambda task: self._described())

    async def _draw(self, request: Request) -> Response:
        return await answer(self.turns, partial(self._drawn, await asked(request, PaintedScene)))

    async def _areas(self, request: Request) -> Response:
        return answer_with_progress(self.turns, partial(self._areas_of, await asked(request, PaintedScene)))

    async def _recipe(self, request: Request) -> Response:
        return await answer(self.turns, partial(self._recipe_of, await asked(request, PaintedScene)))

    async def _find(self, request: Request) -> Response:
        return await answer(self.turns, partial(self._found, await asked(request, Query)))

    async def _unit(self, request: Request) -> Response:
        return exemplars(self.dissection, request)

    def _described(self) -> Mapping[str, Any]:
        """What the page is told of the run."""
        height, width = self.painter.net.preprocessing.image_size
        return {
            "run": self.name,
            "network": self.painter.net.name,
            "image": [height, width],
            "scenes": len(self.latents),
            "areas": self.drawn is not None,
            "layers": [
                {"name": name, "units": layer.units, "grid": list(layer.grid), "labels": self._labels(name)}
                for name, layer in self.painter.layers.items()
            ],
            "search": None if self.search is None else self.search.described(),
            "concepts": [
                {
                    "name": concept.name,
                    "category": concept.category,
                    "layer": list(self.painter.layers).index(concept.layer),
                    "typical": concept.overall is not None,
                    "segmenter_iou": concept.segmenter_iou,
                    "units": [unit._asdict() for unit in concept.units],
                }
                for concept in self.palette.concepts
            ],
        }

    def _labels(self, layer: str) -> list[list[str]]:
        """The concept of each unit, empty where it has none, and the verdict on it."""
        table = self.dissection[layer].table()
        return [list(one) for one in zip(table["concept"].fillna(""), table["verdict"], strict=True)]

    def _found(self, asked: Query, task: Task) -> Mapping[str, Any]:
        search = search_of(self.search)
        with task.turn():
            return search.found(asked, self._pixels)

    def _pixels(self, image: str) -> npt.NDArray[np.uint8]:
        """A scene that is not painted on, by its number, (height, width, 3)."""
        if not is_number(image):
            raise UnitlensError(f"There is no scene {image!r:.40}; they have numbers.")
        return self._scene(int(image)).image

    def _drawn(self, painted: PaintedScene, task: Task) -> Mapping[str, Any]:
        with task.turn():
            scene = self._scene(painted.scene)
            after = scene.edited(self._edits(painted))
        return {"before": image_uri(png(scene.image)), "after": image_uri(png(after))}

    def _areas_of(self, painted: PaintedScene, task: Task, progress: Progress) -> list[dict[str, Any]]:
        """Areas of the concepts that are in the image before or after, those that changed most first."""
        if self.drawn is None:
            return []
        with task.turn():
            scene = self._scene(painted.scene)
            image = scene.edited(self._edits(painted))
        progress(1 / 3)
        before = self._untouched.get(painted.scene)
        if before is None:
            with task.turn():
                before = self._untouched.put(painted.scene, _areas(self.drawn, scene.image))
        progress(2 / 3)
        with task.turn():
            after = _areas(self.drawn, image) if painted.strokes else before
        names, concepts = self.drawn.names(), self.drawn.concepts
        return [
            {
                "concept": names[column],
                "category": concepts[column].category,
                "before": before[column],
                "after": after[column],
            }
            for column in np.argsort(-np.abs(after - before), kind="stable").tolist()
            if before[column] or after[column]
        ]

    def _recipe_of(self, painted: PaintedScene, task: Task) -> Response:
        with task.turn():
            latent = latent_of(self.latents, painted.scene)
            recipe = EditRecipe.of(self.painter.net, latent, self._edits(painted))
        return Response(recipe.to_json(), media_type="application/json")

    def _scene(self, number: int) -> Scene:
        found = self._scenes.get(number)
        return found or self._scenes.put(number, self.painter.scene(latent_of(self.latents, number)))

    def _edits(self, painted: PaintedScene) -> list[UnitEdit]:
        return [self._edit(stroke) for stroke in painted.strokes]

    def _edit(self, stroke: Stroke) -> UnitEdit:
        check_range("a stroke's concept", stroke.concept, 0, len(self.palette.concepts) - 1)
        concept = self.palette.concepts[stroke.concept]
        grid = None if stroke.everywhere else self.painter.layers[concept.layer].grid
        if grid is not None and len(grid) != 2:
            raise UnitlensError(f"{concept.layer} has no grid: its units are edited everywhere.")
        return UnitEdit(
            layer=concept.layer,
            units=stroke.units,
            values=tuple(concept.values(stroke.units, stroke.action, stroke.strength)),
            strength=min(stroke.strength, 1.0),
            grid=grid,
            mask=stroke.mask,
        )


def _areas(drawn: DrawnConcepts, image: npt.NDArray[np.uint8]) -> Floats:
    """The share of an image that each concept takes."""
    marked = drawn.maps(image.transpose(2, 0, 1)[None])
    return np.asarray((drawn.areas(marked) / drawn.positions(marked))[0])


def _bytes(scene: Scene) -> int:
    values = [scene.state.activation, *scene.state.rest.values(), *scene.state.later.values()]
    return scene.image.nbytes + sum(getattr(value, "nbytes", 0) for value in values)
