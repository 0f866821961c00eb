"""Whose labels images are given in the draws: those of any other image, and those of another image of their kind."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from unitlens.data.copies import copies_note
from unitlens.data.groups import in_time
from unitlens.data.preparing import name_hash
from unitlens.dissection.settings import Settings
from unitlens.errors import argument
from unitlens.packed import Numbers
from unitlens.stats.blocks import in_blocks
from unitlens.stats.draws.partners import Partners, choose_partners
from unitlens.stats.draws.strata import alike
from unitlens.stats.folds import FEWEST_FOLDS
from unitlens.stats.scores import AnyInts, Ints, ShortInts

if TYPE_CHECKING:
    from unitlens.dissection.store.labels import LabelPlanes
    from unitlens.dissection.store.passes import StoredPass

_IMAGES_AT_ONCE = 1024

_FEWEST_PART = 0.5
"""Classes are the strata where so large a share of the images can exchange labels with another one of their class."""


@dataclass(frozen=True, eq=False)
class Exchange:
    """Some draws of one kind.

    Attributes
    ----------
    partners : Partners
        For each draw and image, the image whose labels it is given: its own, where it takes no part.
    labels : LabelPlanes
        Of all images.
    odd : uint8 array, (N,)
        1 for images of the odd folds.
    """

    partners: Partners
    labels: "LabelPlanes"
    odd: npt.NDArray[np.uint8]

    @cached_property
    def taking_part(self) -> npt.NDArray[np.bool_]:
        """Which images are given the labels of another one in any draw, (N,)."""
        out = np.empty(len(self.odd), bool)
        for block in in_blocks(len(out), _IMAGES_AT_ONCE):
            images = range(block.start, block.stop)
            out[block] = (self.partners.of(images) != np.array(images)).any(0)
        return out

    @property
    def images_on_halves(self) -> Ints:
        """Images of the even and of the odd folds, (2,)."""
        odd = np.count_nonzero(self.odd)
        return np.array([len(self.odd) - odd, odd])

    def totals(self, *, grid: bool) -> Ints:
        """What each column has on either half of the folds, in positions of the grid or images, (draws, 2, columns)."""
        return self._on_grid if grid else self._in_images

    @cached_property
    def _on_grid(self) -> Ints:
        return self.labels.totals(self.partners, self.odd, grid=True)

    @cached_property
    def _in_images(self) -> Ints:
        return self.labels.totals(self.partners, self.odd, grid=False)


@dataclass(frozen=True, eq=False)
class Strata:
    """The kinds of images.

    Attributes
    ----------
    of_image : integer array, (N,)
        A number for each; images of no known kind are a stratum each.
    source : {"classes", "within", "concepts"}
        What they are: the images' classes, what the user named, or sets of concepts that are present.
    """

    of_image: AnyInts
    source: str

    def first_images(self) -> ShortInts:
        """The first image of each stratum, by the stratum's number."""
        first = np.full(int(self.of_image.max(initial=0)) + 1, len(self.of_image), np.int32)
        for block in in_blocks(len(self.of_image), _IMAGES_AT_ONCE):
            stratum, place = np.unique(self.of_image[block], return_index=True)
            first[stratum] = np.minimum(first[stratum], block.start + place)
        return first


@dataclass(frozen=True, eq=False)
class Draws:
    """All draws of a pass.

    Attributes
    ----------
    plain : Exchange
        Labels of any other image that is annotated for the same categories.
    context : Exchange
        Those of other images of the same stratum.
    strata : Strata
    """

    plain: Exchange
    context: Exchange
    strata: Strata

    @property
    def partners(self) -> Partners:
        """Those of the plain draws, then those of context."""
        return Partners.joined(self.plain.partners, self.context.partners)

    def determined(self, *, grid: bool) -> npt.NDArray[np.bool_]:
        """Which concepts the kind of image determines, (C,): all images of a stratum hold them, or none does.

        On a grid they also fill every image that holds them, as words for whole images do.
        """
        labels = self.context.labels
        concepts = slice(1, 1 + len(labels.columns.concepts))
        first, strata = self.strata.first_images(), self.strata.of_image
        same = np.ones(len(labels.columns.concepts), bool)
        for block in in_blocks(len(strata), _IMAGES_AT_ONCE):
            like, which = np.unique(first[strata[block]], return_inverse=True)
            same &= (labels.present(np.arange(block.start, block.stop)) == labels.present(like)[which]).all(0)
        if grid:
            cells = labels.grid[0] * labels.grid[1]
            same &= labels.positions.sum(0)[concepts] == labels.images.sum(0)[concepts] * cells
        return same

    def notes(self) -> list[str]:
        """What the user should know of them."""
        images, part = len(self.plain.odd), int(self.context.taking_part.sum())
        out = []
        left_out = images - int(self.plain.taking_part.sum())
        if left_out and len(self.plain.partners):
            out.append(
                f"{left_out} of {images} images take no part in the draws of chance_iou, as no other one is annotated "
                "for the same categories: they keep their labels there."
            )
        if not len(self.context.partners):
            out.append(
                "No kinds of images are known within which labels could be exchanged: no unit is tested for context. "
                f"Name kinds by {argument('within')}."
            )
        elif len(self.plain.partners):
            strata = len(np.unique(self.strata.of_image[self.context.taking_part]))
            out.append(
                f"Context: labels are exchanged within {strata} {_NAMES[self.strata.source]}; {part} of {images} "
                "images take part."
            )
        return out


_NAMES = {"classes": "classes", "within": "strata", "concepts": "sets of images that contain much the same concepts"}


def plan_draws(stored: "StoredPass", settings: Settings, within: Mapping[str, str] | None = None) -> Draws:
    """Choose whose labels images are given.

    Parameters
    ----------
    stored : StoredPass
    settings : Settings
        Their number of draws, and seed.
    within : mapping of str to str, optional
        The stratum of images by their names; without it, their classes are taken where all are known and most images
        have others of their class, else sets of concepts.

    Returns
    -------
    Draws
    """
    if within is not None:
        names = stored.record.names
        strata = Strata(_numbered(within.get(name, ("", image)) for image, name in enumerate(names)), "within")
        plain = plain_draws(stored, settings)
        return Draws(plain, _exchange(stored, settings, strata, odd=plain.odd), strata)
    plain, classes = plain_draws(stored, settings), stored.record.classes
    if None not in classes and len(set(classes)) > 1:
        strata = Strata(_numbered(classes), "classes")
        context = _exchange(stored, settings, strata, odd=plain.odd)
        if context.taking_part.mean() >= _FEWEST_PART:
            return Draws(plain, context, strata)
    strata = Strata(_sets_of_concepts(stored, settings.draws), "concepts")
    context = _exchange(stored, settings, strata, odd=plain.odd)
    if len(np.unique(strata.of_image[context.taking_part])) < 2:  # one kind alone is no kind
        context = replace(context, partners=Partners(stored.images))
    return Draws(plain, context, strata)


def plain_draws(stored: "StoredPass", settings: Settings) -> Exchange:
    """Choose whose labels images are given, of any other image that is annotated for the same categories."""
    return _exchange(stored, settings, None, odd=stored.folds % 2)


def _exchange(
    stored: "StoredPass", settings: Settings, strata: Strata | None, *, odd: npt.NDArray[np.uint8]
) -> Exchange:
    record, of_image = stored.record, None if strata is None else strata.of_image
    if not record.grouped:
        chosen = choose_partners(
            record.hashes, record.annotated, draws=settings.draws, seed=settings.seed, strata=of_image
        )
        return Exchange(chosen, stored.labels, odd)
    order = np.argsort(np.argsort(np.array(record.names, object), kind="stable"))
    chosen = choose_partners(
        Numbers(map(name_hash, record.names)),
        record.annotated,
        draws=settings.draws,
        seed=settings.seed,
        groups=_numbered(record.groups),
        strata=of_image,
        order=order if in_time(settings.groups) else None,
    )
    return Exchange(chosen, stored.labels, odd)


def _numbered(names: Iterable[object]) -> AnyInts:
    """A number for each distinct name, (N,)."""
    number: dict[object, int] = {}
    numbers = np.fromiter((number.setdefault(name, len(number)) for name in names), np.int32)
    return _narrow(numbers)


def _narrow(numbers: AnyInts) -> AnyInts:
    """The same numbers, none of which is negative, in as few bytes as the largest needs."""
    return numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))


def _sets_of_concepts(stored: "StoredPass", draws: int) -> AnyInts:
    """Images that are annotated for the same categories and contain much the same concepts."""
    groups = _numbered(stored.record.groups) if stored.record.grouped else None
    kinds, strata, count = _numbered(stored.record.annotated), np.zeros(stored.images, np.int32), 0
    for kind in range(int(kinds.max(initial=0)) + 1):
        images = np.arange(stored.images, dtype=np.int32)[kinds == kind]
        of_kind = None if groups is None else groups[images]
        strata[images] = count + _alike(stored.labels, images, of_kind, draws)
        count = int(strata[images].max()) + 1
    return _narrow(strata)


def _alike(labels: "LabelPlanes", images: ShortInts, groups: AnyInts | None, draws: int) -> ShortInts:
    """Sort some images into strata, in which they can exchange labels in each of the draws."""
    return alike(lambda some: labels.present(images[some]), len(images), groups=groups, fewest=draws + 1)


def few_folds(stored: "StoredPass", settings: Settings) -> list[str]:
    """Note that there are no intervals, where images fill too few folds."""
    folds = len(np.unique(stored.folds))
    if not settings.evidence or folds >= FEWEST_FOLDS:
        return []
    images = f"{stored.images} images"
    if stored.record.grouped:
        images += f" in {len(set(stored.record.groups))} groups"
    return [
        f"The {images} fill {folds} of 32 folds, fewer than {FEWEST_FOLDS}: there are no intervals "
        "(iou_low, iou_high and concept_set are empty)."
    ]


def few_draws(stored: "StoredPass", settings: Settings, draws: int) -> list[str]:
    """Note how few exchanges of labels the images or groups allow, and the smallest p-value of it."""
    if draws == settings.draws:
        return []
    groups = len(set(stored.record.groups))
    units = max(layer.units for layer in stored.layers.values())
    among = f"The {groups} groups" if stored.record.grouped else f"The {stored.images} images"
    if not draws:
        return [
            f"{among} allow no exchange of labels (one of them holds more than half of the images, or there is only "
            "one): every p-value is 1, and no unit can be told from chance."
        ]
    return [
        f"{among} allow {draws} exchanges of labels in place of {settings.draws}: with {units} units no p-value is "
        f"below {1 / (1 + draws * units):.2g}."
    ]


def alike_images(stored: "StoredPass", settings: Settings, *, drawn: bool = False) -> list[str]:
    """Note copies and near copies, where nothing was said of groups; of drawn images groups cannot be found."""
    record = stored.record
    if settings.groups is not None or record.grouped or not settings.evidence:
        return []
    if len(record.fingerprints) < len(record.names):  # a pass that was stopped, and went on
        return []
    if drawn:
        return copies_note(
            record.names, record.fingerprints, remedy="the generator draws much the same from many latents"
        )
    return copies_note(record.names, record.fingerprints)
