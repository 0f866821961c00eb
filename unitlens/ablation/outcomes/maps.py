"""Outcomes of networks that label pixels: the area of a class, and its IoU with what the data mark."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unitlens.ablation.outcomes.reading import Measured, Numbers, Read, Seen, class_number, main_tensor
from unitlens.ablation.replay.nests import Output
from unitlens.data.columns import Columns
from unitlens.data.concepts import Concept
from unitlens.errors import UnitlensError, did_you_mean
from unitlens.models.network import Network
from unitlens.models.passes import evaluating


def scores_of(outputs: Output, outcome: str) -> Tensor:
    """Scores of classes at every position, (R, K, h, w)."""
    what = f"{outcome} is of a network that returns scores at every position, images x classes x rows x columns"
    return main_tensor(outputs, what, lambda each: each.ndim == 4 and each.shape[1] > 1 and each.is_floating_point())


def map_size(net: Network, outcome: str) -> tuple[int, int]:
    """Rows and columns of the network's maps; it is run on one example for it."""
    example = net.example_inputs()
    with evaluating(net.model), net.pass_errors(example):
        height, width = scores_of(net.model(example), outcome).shape[2:]
    return int(height), int(width)


def _number(class_: str, measured: Measured, outcome: str) -> int:
    count = scores_of(measured.outputs, outcome).shape[1]
    return class_number(class_, measured.net.classes, count, outcome=outcome)


@dataclass(frozen=True)
class Area:
    """The share of positions whose largest score is a class's.

    Attributes
    ----------
    class_ : str
        Its name, or its number.
    """

    class_: str

    @property
    def name(self) -> str:
        """What it is called."""
        return f"area:{self.class_}"

    def start(self, measured: Measured) -> Read:
        """Find the class."""
        number = _number(self.class_, measured, self.name)

        def read(outputs: Output, seen: Seen) -> Mapping[str, Numbers]:
            predicted = scores_of(outputs, self.name).argmax(1) == number
            return {self.name: Numbers(predicted.double().mean((1, 2)))}

        return read


@dataclass(frozen=True)
class Iou:
    """The IoU of the positions whose largest score is a class's with those at which the data mark it.

    Intersections and unions are summed over images. What the data do not judge counts for nothing.

    Attributes
    ----------
    class_ : str
        Its name, or its number; the data mark a concept of that name.
    """

    class_: str

    @property
    def name(self) -> str:
        """What it is called."""
        return f"iou:{self.class_}"

    def start(self, measured: Measured) -> Read:
        """Find the class and the concept."""
        number = _number(self.class_, measured, self.name)
        names = measured.net.classes
        column = _column(measured.columns, names[number] if names else self.class_, self.name)
        not_judged = 1 + len(measured.columns.concepts) + int(measured.columns.category_of[column])

        def read(outputs: Output, seen: Seen) -> Mapping[str, Numbers]:
            predicted = scores_of(outputs, self.name).argmax(1) == number
            marked, judged = _marks(seen, measured, column, not_judged, predicted.device)
            by_variant = predicted.reshape(-1, *marked.shape)
            intersection, union = (by_variant & marked & judged), ((by_variant | marked) & judged)
            return {self.name: Numbers(*(part.sum((2, 3)).double().flatten() for part in (intersection, union)))}

        return read


def _marks(seen: Seen, measured: Measured, column: int, not_judged: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where the data mark a concept, and where they judge it, each (N, h, w)."""
    planes = [seen.images.batch.planes[row] for row in seen.images.chosen]
    shape = (len(planes), *measured.grid)
    marked = np.stack([(each == column + 1).any(0) for each in planes]).reshape(shape)
    judged = np.stack([~(each == not_judged).any(0) for each in planes]).reshape(shape)
    return torch.from_numpy(marked).to(device), torch.from_numpy(judged).to(device)


def _column(columns: Columns, name: str, outcome: str) -> int:
    """The concept of a name: its own, or category/name."""

    def is_called(concept: Concept) -> bool:
        return name.lower() in (concept.name.lower(), f"{concept.category}/{concept.name}".lower())

    found = [number for number, concept in enumerate(columns.concepts) if is_called(concept)]
    if len(found) == 1:
        return found[0]
    known = columns.names()
    if found:
        several = ", ".join(f"{columns.concepts[k].category}/{columns.concepts[k].name}" for k in found)
        raise UnitlensError(f"{outcome}: several concepts that the data mark are called {name}: {several}.")
    marked = f"the data mark {', '.join(known[:12])}" + (", ..." if len(known) > 12 else "")
    raise UnitlensError(
        f"{outcome} compares with what the data mark, and no concept is called {name}{did_you_mean(name, known)}; "
        f"{marked if known else 'the data mark no concepts'}."
    )
