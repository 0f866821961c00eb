"""Find shortcuts: the units whose removal helps the subgroup of images on which a network is worst."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from unitlens.ablation.activity import LayerValues, unit_contributions
from unitlens.ablation.interventions import Replacement
from unitlens.ablation.measuring import Design, Measured, measure
from unitlens.ablation.random_sets import FEW_DRAWS, draw_sets
from unitlens.ablation.replay.replayed import MeasuredImages
from unitlens.ablation.responses.per_image import ImageValues, PerImage
from unitlens.data.classes import Classes, join_classes
from unitlens.data.concepts import Data, described
from unitlens.data.groups import Groups, grouped
from unitlens.data.inmemory.dataset import as_data
from unitlens.data.reading import Reading, Subset
from unitlens.data.strata import Subgroups, read_subgroups
from unitlens.dissection.reopening import as_network
from unitlens.dissection.result import Dissection
from unitlens.errors import UnitlensError, UnitlensWarning, argument
from unitlens.explaining.asked import AskedLayer, class_count, describe, given_value, network_images
from unitlens.explaining.subgroups.result import MeasuredHalf, Removal, Shortcuts, ShownImages
from unitlens.models.bases import BasisLike
from unitlens.models.network import Network
from unitlens.stats.folds import Folds
from unitlens.stats.scores import Floats, Ints

MOST = 5
"""A set is chosen in so many steps at most."""

TOP = 5
"""So many units, and so many concepts, are measured alone: those that help most on the images that choose."""

CANDIDATES = 64
"""A step adds one of so many units, those that alone help most, or all units of a concept."""

LEAST = 10
"""With fewer images that choose, no subgroup is called the worst."""

SHOWN = 12
"""So many images of the worst subgroup are kept to be shown."""

_PREDICTION, _MARGIN = range(2)

Sets = Sequence[tuple[int, ...]]


def shortcuts(
    net: Network | nn.Module,
    dissection: Dissection,
    data: Data | str | Path,
    subgroups: Subgroups | None = None,
    *,
    layer: str | None = None,
    most: int = MOST,
    draws: int = FEW_DRAWS,
    value: float | Literal["mean"] = 0.0,
    basis: BasisLike | None = None,
    groups: Groups | None = None,
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    strict: bool = False,
    progress: bool = False,
) -> Shortcuts:
    """Find the units, concepts and sets whose removal helps the subgroup on which a network is worst.

    Images of even folds choose: the subgroup with the lowest accuracy, the units and the concepts whose removal raises
    it most, and a set that grows by a unit, or by all units of a concept, at a time: by those that raise the mean
    accuracy of the subgroups most, each of which counts the same. All of it is then measured on the images of odd
    folds, what the other subgroups pay too, and beside sets of units that are drawn at random or matched.

    Every image goes through the network once or twice, and each of those that choose once more for every step in which
    the set grows; what lies behind the layer is replayed. Predictions are kept by image and removal.

    Parameters
    ----------
    net : Network or torch.nn.Module
        The one that was dissected, or its module: images are prepared as they were then. It returns scores of classes.
    dissection : Dissection
        Of its units.
    data : Data, str or Path
        Images with classes; a string is what ``--data`` takes.
    subgroups : str, Path or mapping, optional
        The subgroup of each image: a CSV file of ``image,group``, a column of the data's classes.csv, or a mapping by
        the images' names; by default those that the data name. Images without one are left out.
    layer : str, optional
        Its name; that of the dissection, where it is of one layer.
    most : int
        Steps at most in which the set grows.
    draws : int
        Sets that are drawn at random beside the first unit, the first concept and the chosen set, and as many matched.
    value : float or "mean"
        What units are set to: a number, or each unit's mean over the images of the dissection; of heads of attention
        over ``data``.
    basis : matrix, file of one, or Dictionary, optional
        As for `unitlens.explain`.
    groups : optional
        Images that belong together, as for `unitlens.dissect`: they fall into the same fold. Not the subgroups.
    limit, batch_size, workers, seed, strict, progress
        As for `unitlens.ablate`.

    Returns
    -------
    Shortcuts

    Raises
    ------
    UnitlensError
        If an argument is out of its range, there are fewer than two subgroups, or none has 10 images in the half that
        chooses and one in the other.

    Warns
    -----
    UnitlensWarning
        If images are left out, or every unit takes a full pass of the network.

    References
    ----------
    Sagawa et al., "Distributionally robust neural networks for group shifts", ICLR 2020: the accuracy of the worst
    subgroup. Subgroups, there called groups, are here kept apart from images that belong together.

    Examples
    --------
    >>> import unitlens as ul
    >>> net, data = ul.load("bundled:scenes-shortcut"), ul.ShortcutScenes(30)
    >>> d = ul.dissect(net, "relu6", data, exemplars=0)
    >>> found = ul.shortcuts(net, d, data, most=1, draws=0)
    >>> found.accuracy().columns[:4].tolist()
    ['subgroup', 'class', 'images', 'accuracy']
    """
    net = as_network(net, dissection.info)
    data = as_data(data)
    for name, number, least in (("most", most, 1), ("draws", draws, 0)):
        if number < least:
            raise UnitlensError(f"{argument(name, number)} must be {least} or more.")
    of_image = read_subgroups(subgroups, data)
    data = grouped(data, groups, limit=limit, seed=seed)
    asked = AskedLayer.of(net, dissection, layer, basis)
    search = _Search(
        net=net,
        layer=asked,
        values=LayerValues(Replacement(given_value(value, net, dissection, asked, data))),
        data=data,
        reading=Reading(
            batch_size=batch_size, workers=workers, limit=limit, seed=seed, strict=strict, progress=progress
        ),
        classes=join_classes(data, net.classes, class_count(net)),
        of_image=of_image,
        subgroups=tuple(sorted(set(of_image.values()))),
        measurements=[],
    )
    made = search.found(most=most, draws=draws)
    notes = list(dict.fromkeys(note for each in search.measurements for note in each.notes))
    for note in notes:
        warnings.warn(note, UnitlensWarning, stacklevel=2)
    last = search.measurements[-1]
    info = describe(
        net,
        data,
        last.data,
        settings={"layer": asked.name, "value": value, "most": most, "draws": draws},
        seconds=sum(each.seconds for each in search.measurements),
        notes=notes,
        replay=last.replay,
    )
    return replace(made, info=info)


class _Half(NamedTuple):
    """Images of one half that have a subgroup: what was read of them, and how far each is on the right side."""

    images: MeasuredHalf
    indices: Ints
    margin: Floats
    margin_after: Floats


@dataclass(frozen=True, eq=False)
class _Search:
    """The network and images of a search, and the measurements that it has made."""

    net: Network
    layer: AskedLayer
    values: LayerValues
    data: Data
    reading: Reading
    classes: Classes
    of_image: Any
    subgroups: tuple[str, ...]
    measurements: list[Measured[ImageValues]]

    def found(self, *, most: int, draws: int) -> Shortcuts:
        """Choose on the images of even folds, and measure on those of odd folds."""
        alone = self.measured(None, "even")
        self.layer.labelled.check_count(alone.images.after.shape[1], self.layer.name)
        worst = self._worst(alone.images)
        concepts = [concept.units for concept in self.layer.labelled.concepts]
        together = self.measured(concepts, "even") if concepts else None
        order = _by_help(alone, worst)
        # what was tried, and what is predicted then of the images that choose
        tried = [
            (self._removal("unit", rank, (unit,)), alone.images.after[:, unit])
            for rank, unit in enumerate(order[:TOP], 1)
        ]
        if together is not None:
            for rank, place in enumerate(_by_help(together, worst)[:TOP], 1):
                concept = self.layer.labelled.concepts[place]
                removal = Removal("concept", rank, concept.units, concept.name, concept.category)
                tried.append((removal, together.images.after[:, place]))
        candidates = [(unit,) for unit in order[:CANDIDATES]] + [units for units in concepts if len(units) > 1]
        sets = self._sets(candidates, worst, most)
        tried += [(self._removal("set", steps, units), after) for steps, (units, after) in enumerate(sets, 1)]
        removals = tuple(removal for removal, _ in tried)
        choosing = alone.images._replace(after=np.stack([after for _, after in tried], 1))
        first_set = len(tried) - len(sets)
        chosen = first_set + int(self._mean(choosing)[first_set:].argmax())
        drawn = self._drawn(removals, chosen, draws)
        units = [removal.units for removal in removals]
        tested = self.measured([*units, *(one for sets_ in drawn.values() for one in sets_)], "odd")
        return Shortcuts(
            info={},
            layer=self.layer.name,
            classes=self.classes.names,
            subgroups=self.subgroups,
            worst=worst,
            removals=removals,
            chosen=chosen,
            choosing=choosing,
            measured=tested.images._replace(after=tested.images.after[:, : len(units)]),
            drawn=self._effects_of_drawn(tested.images, drawn, start=len(units)),
            grouped=described(self.data).grouped,
            shown=self._shown(tested, worst, chosen),
        )

    def measured(self, sets: Sets | None, folds: Folds) -> _Half:
        """Predictions and margins of the images of a half, under some removals; None: every unit alone."""
        design = Design(
            layers=(self.layer.place,),
            values=(self.values,),
            response=PerImage(_Reader(self.classes).read, with_class=True),
            sets=None if sets is None else tuple((tuple(units),) for units in sets),
            folds=folds,
            basis=self.layer.basis,
        )
        measured = measure(self.net, self.data, design, self.reading)
        self.measurements.append(measured)
        return self._half(measured.counts, folds)

    def _half(self, counts: ImageValues, folds: Folds) -> _Half:
        named = np.array([name in self.of_image for name in counts.names], bool)
        if not named.any():
            raise UnitlensError(
                f"None of the {len(named)} images of {folds} folds that have a class has a subgroup: use more images, "
                f"or name those of more images ({argument('subgroups', option='--groups')})."
            )
        rows = np.flatnonzero(named)
        names = [counts.names[row] for row in rows]
        numbers = {name: number for number, name in enumerate(self.subgroups)}
        half = MeasuredHalf(
            names=names,
            subgroup=np.array([numbers[self.of_image[name]] for name in names], np.int64),
            truth=np.array([self.classes.output_of[str(counts.classes[row])] for row in rows], np.int64),
            before=counts.before[rows, _PREDICTION].astype(np.int64),
            after=counts.after[rows][..., _PREDICTION].astype(np.int64),
            folds=counts.folds[rows],
        )
        return _Half(half, counts.indices[rows], counts.before[rows, _MARGIN], counts.after[rows][..., _MARGIN])

    def _worst(self, half: MeasuredHalf) -> int:
        """The subgroup with the lowest accuracy, of those with enough images."""
        images = np.bincount(half.subgroup, minlength=len(self.subgroups))
        if images.max() < LEAST:
            raise UnitlensError(
                f"No subgroup has {LEAST} of the {len(half.names)} images that choose (those of even folds): use more "
                "images, or fewer subgroups."
            )
        right = np.bincount(half.subgroup, weights=half.right, minlength=len(self.subgroups))
        return int(np.where(images >= LEAST, right / np.maximum(images, 1), np.inf).argmin())

    def _mean(self, half: MeasuredHalf) -> Floats:
        """Mean accuracy of the subgroups with enough images under each removal, each counting the same, (V,)."""
        effects = half.effects(len(self.subgroups), grouped=False)
        return np.asarray(effects.after[:, effects.images >= LEAST].mean(1))

    def _sets(self, candidates: Sets, worst: int, most: int) -> list[tuple[tuple[int, ...], Ints]]:
        """Sets that grow by a unit, or a concept, at a time: each the one that raises the mean over subgroups most.

        Of equals, the one that brings the images of the worst subgroup furthest to the right side. With what is
        predicted then.
        """
        sets: list[tuple[tuple[int, ...], Ints]] = []
        chosen: tuple[int, ...] = ()
        while len(sets) < most:
            added = [tuple(unit for unit in units if unit not in chosen) for units in candidates]
            tried = list(dict.fromkeys((*chosen, *units) for units in added if units))
            if not tried:
                break
            half = self.measured(tried, "even")
            margin = half.margin_after[half.images.subgroup == worst].mean(0)
            best = int(np.lexsort((margin, self._mean(half.images)))[-1])
            chosen = tried[best]
            sets.append((chosen, half.images.after[:, best]))
        return sets

    def _removal(self, kind: str, rank: int, units: tuple[int, ...]) -> Removal:
        rows = self.layer.labelled.table.iloc[[unit for unit in units if self.layer.labelled.good[unit]]]
        pairs = list(dict.fromkeys(zip(rows["concept"], rows["category"], strict=True)))
        concepts, categories = (";".join(str(pair[i]) for pair in pairs) for i in range(2))
        return Removal(kind, rank, units, concepts, categories)

    def _drawn(self, removals: Sequence[Removal], chosen: int, draws: int) -> dict[tuple[int, str], Sets]:
        """Sets that are drawn beside the first unit, the first concept and the chosen set, by kind."""
        if not draws:
            return {}
        layer, seed = self.layer, self.reading.seed
        handed = unit_contributions(self.net, layer.place, self.data, self.reading, seed=seed, basis=layer.basis).values
        firsts = [place for place, removal in enumerate(removals) if removal.kind != "set" and removal.rank == 1]
        found: dict[tuple[int, str], Sets] = {}
        for place in (*firsts, chosen):
            drawn = draw_sets((removals[place].units,), [handed], draws, seed=seed)
            found |= {(place, kind): [of_layer for (of_layer,) in sets] for kind, sets in drawn.items()}
        return found

    def _effects_of_drawn(
        self, half: MeasuredHalf, drawn: dict[tuple[int, str], Sets], *, start: int
    ) -> dict[tuple[int, str], Floats]:
        effect = half.effects(len(self.subgroups), grouped=False).effect
        found = {}
        for key, sets in drawn.items():
            found[key] = effect[start : start + len(sets)]
            start += len(sets)
        return found

    def _shown(self, half: _Half, worst: int, chosen: int) -> ShownImages:
        """Images of the worst subgroup: first those that the chosen set puts right, then others that are wrong."""
        images = half.images
        wrong = np.flatnonzero((images.subgroup == worst) & ~images.right)
        order = wrong[np.argsort(~images.right_after[wrong, chosen], kind="stable")][:SHOWN]
        names = self.classes.names
        return ShownImages(
            images=network_images(self.net, Subset(self.data, half.indices[order].tolist())),
            classes=[names[k] for k in images.truth[order]],
            before=[names[k] for k in images.before[order]],
            after=[names[k] for k in images.after[order, chosen]],
        )


@dataclass(frozen=True)
class _Reader:
    """Reads of each image what it is classified as, and how far its own class leads the others."""

    classes: Classes

    def read(self, images: MeasuredImages, outputs: Tensor) -> Tensor:
        """From outputs (V, N, K) to (V, N, 2)."""
        own = torch.from_numpy(images.truth(self.classes)).to(outputs.device)
        index = own[None, :, None].expand(len(outputs), -1, 1)
        scores = outputs.double()
        others = scores.scatter(2, index, -torch.inf).amax(2)
        return torch.stack([outputs.argmax(2).double(), scores.gather(2, index)[..., 0] - others], 2)


def _by_help(half: _Half, worst: int) -> list[int]:
    """Removals, the one first that helps the worst subgroup most: by its accuracy, and of equals by its margin."""
    of = half.images.subgroup == worst
    right, margin = half.images.right_after[of].mean(0), half.margin_after[of].mean(0)
    order: list[int] = np.lexsort((-margin, -right)).tolist()
    return order
