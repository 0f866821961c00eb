"""What is measured of one image after the other: units alone, those of a concept, the first ones, smallest sets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from unitlens.ablation.replay.cut import replayed_share
from unitlens.ablation.replay.nests import Output, describe
from unitlens.ablation.replay.replayed import MeasuredImages, Replayed
from unitlens.ablation.responses.predictions import predictions
from unitlens.data.batches import Batch, ImageRecord
from unitlens.data.concepts import Data
from unitlens.dissection.settings import Settings
from unitlens.errors import UnitlensError
from unitlens.explaining.explanation import Explanation
from unitlens.explaining.labelled_units import LabelledUnits
from unitlens.explaining.sentences import named_units
from unitlens.explaining.smallest_sets import alone, answer, answers, ask, smallest_set
from unitlens.models.network import Network
from unitlens.models.passes import evaluating_with_gradients
from unitlens.stats.scores import Bools, Floats

Attribute = Callable[[Tensor, Tensor], Tensor]
"""From one prepared image and its class to attributions, (1, U, ...)."""


@dataclass(frozen=True, eq=False)
class Reasons:
    """All that an explanation says of an image; images come one at a time.

    Attributes
    ----------
    labelled : LabelledUnits
    maps : callable
        From the layer's output for one image, as the network lays it out, to (1, U, h, w).
    settings : Settings
        Of the dissection: how maps become masks.
    class_ : int, optional
        The output that is followed; None: the predicted one of each image.
    top : int
        So many units are ablated together.
    most : int
        Smallest sets of so many units at most are looked for; 0: none.
    shown : callable
        From images as the network takes them to how they are shown: see `Preprocessing.shown`.
    attributions : mapping of str to Attribute
    """

    labelled: LabelledUnits
    maps: Callable[[Tensor], Tensor]
    settings: Settings
    class_: int | None
    top: int
    most: int
    shown: Callable[[Tensor], Tensor]
    attributions: Mapping[str, Attribute] = field(default_factory=dict)
    adds: ClassVar[bool] = False  # explanations are no arrays, and searches look at single images

    def measurable(self, batch: Batch) -> Bools:
        """Every image."""
        return np.ones(len(batch.names), bool)

    def why_nothing(self, read: ImageRecord) -> str | None:
        """Any image can be explained."""
        return None

    def notes(self, read: ImageRecord) -> list[str]:
        """Nothing."""
        return []

    def start(
        self, net: Network, data: Data, images: MeasuredImages, outputs: Output, variants: int
    ) -> "_ReasonsCounter":
        """Begin; outputs are scores of classes, (N, K)."""
        self.check(outputs, variants)
        return _ReasonsCounter(self)

    def check(self, outputs: Output, units: int) -> None:
        """Make sure that the network returns scores of classes, and the layer has the units of the dissection.

        Raises
        ------
        UnitlensError
            If not.
        """
        if not isinstance(outputs, Tensor) or outputs.ndim != 2 or outputs.shape[1] < 2:
            raise UnitlensError(
                f"The network returns {describe(outputs)}; a prediction is explained where it returns scores of "
                "classes, images x classes."
            )
        self.labelled.check_count(units, str(self.labelled.table["layer"].iloc[0]))

    def explain(self, replayed: Replayed, single: Floats, *, share: float) -> Explanation:
        """Explain one image.

        Parameters
        ----------
        replayed : Replayed
            The image.
        single : float64 array, (U, K)
            Outputs with every unit ablated alone, of `unitlens.explaining.smallest_sets.alone`: what all else is ranked
            by.
        share : float
            Which share of a pass a replay takes.
        """
        (row,) = replayed.images.chosen.tolist()
        batch, layer, labelled = replayed.images.batch, replayed.cut.layer, self.labelled
        (predicted,) = predictions(replayed.output, "The network's outputs").tolist()
        explained = predicted if self.class_ is None else self.class_
        before = answer(replayed.output[0], explained)
        units = answers(torch.from_numpy(single), explained)
        order = np.argsort(units.logit, kind="stable").tolist()
        # sets that are known before: units of each concept; the first units
        concepts = ask(replayed, [concept.units for concept in labelled.concepts], explained)
        first = [tuple(order[: size + 1]) for size in range(min(self.top, len(order)))]
        together = ask(replayed, first, explained)
        named = named_units(labelled, concepts, units.logit - before.logit, before)
        maps = self.maps(replayed.recorded[layer])
        masks = _masks(maps, labelled, self.settings)
        return Explanation(
            image=batch.names[row],
            pixels=self.shown(batch.images[row][None])[0].permute(1, 2, 0).numpy(),
            class_of=None if batch.classes[row] is None else str(batch.classes[row]),
            explained=explained,
            before=before,
            units=units,
            area=masks.mean((1, 2)),
            peak=maps[0].flatten(1).amax(1).double().cpu().numpy(),
            maps=maps[0].float().cpu().numpy(),
            concepts=tuple(concepts),
            concept_area=np.array([masks[list(concept.units)].any(0).mean() for concept in labelled.concepts]),
            together=tuple(together),
            named=ask(replayed, [named], explained)[0] if named else None,
            # looked for step by step
            smallest=smallest_set(replayed, single, share=share, most=self.most),
            attributions=self._attributed(replayed.cut.model, replayed.images.inputs, explained),
        )

    def _attributed(self, model: nn.Module, inputs: Tensor, class_: int) -> dict[str, Floats]:
        target = torch.tensor([class_], device=inputs.device)
        with evaluating_with_gradients(model):
            found = {name: attribute(inputs, target) for name, attribute in self.attributions.items()}
        return {name: values[0].double().flatten(1).sum(1).cpu().numpy() for name, values in found.items()}


@dataclass(frozen=True, eq=False)
class _ReasonsCounter:
    asked: Reasons
    share: list[float] = field(default_factory=list)
    explained: list[Explanation] = field(default_factory=list)

    def add(self, replayed: Replayed) -> None:
        """Explain one image."""
        if not self.share:
            self.share.append(replayed_share(replayed.cut, replayed.images.inputs) if self.asked.most else 1.0)
        self.explained.append(self.asked.explain(replayed, alone(replayed), share=self.share[0]))

    def counts(self) -> list[Explanation]:
        """The explanations."""
        return self.explained


def _masks(maps: Tensor, labelled: LabelledUnits, settings: Settings) -> Bools:
    """Where each unit is above its threshold, (U, H, W), from its maps, (1, U, h, w)."""
    above, grid = labelled.active(maps, settings)
    masks = np.zeros((maps.shape[1], grid[0] * grid[1]), bool)
    masks[above.unit.cpu().numpy(), above.position.cpu().numpy()] = True
    return masks.reshape(-1, *grid)
