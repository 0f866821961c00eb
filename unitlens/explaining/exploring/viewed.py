"""One image that went through the network once, and all that can be asked of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.ablation.replay.edits import UnitEdit, output_with
from unitlens.ablation.replay.nests import Output
from unitlens.ablation.replay.replayed import Replayed, Variant
from unitlens.errors import UnitlensError
from unitlens.explaining.explanation import Explanation, SmallestSet
from unitlens.explaining.reasons import Reasons
from unitlens.explaining.smallest_sets import MOST, alone, most_replays, smallest_set
from unitlens.models.layers import display_name
from unitlens.stats.masks import at_most_grid
from unitlens.stats.scores import Floats

Between = Callable[[int], None]
"""Called between blocks of work, with how many replays or images the last block was; what it raises ends the work."""


def go_on(done: int) -> None:
    """Let the work go on to its end."""


@dataclass(frozen=True, eq=False, repr=False)
class ReplayedInBlocks(Replayed):
    """An image, between whose blocks of replays something else may happen; searches need not know of it."""

    between: Between

    @classmethod
    def of(cls, replayed: Replayed, between: Between) -> "ReplayedInBlocks":
        """The same image."""
        return cls(**vars(replayed), between=between)

    def outputs_of(self, variants: Sequence[Variant] | None) -> Iterator[tuple[int, Output]]:
        """Outputs under intervention after intervention; between blocks of them, `between` is called."""
        for first, outputs in super().outputs_of(variants):
            self.between(len(outputs) if isinstance(outputs, Tensor) else 1)
            yield first, outputs


@dataclass(frozen=True, eq=False, repr=False)
class Viewed:
    """One image that went through the network once. Made by `unitlens.explaining.exploring.explorer.Explorer.view`.

    Attributes
    ----------
    replayed : Replayed
        The image.
    reasons : Reasons
        What is said of it.
    share : float
        Which share of a pass a replay takes.
    """

    replayed: Replayed
    reasons: Reasons
    share: float
    _single: list[Floats] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The image's name."""
        return self.replayed.images.batch.names[0]

    @property
    def class_(self) -> str | None:
        """Its own class, where the data say it."""
        given = self.replayed.images.batch.classes[0]
        return None if given is None else str(given)

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """What the network sees of it, as it is shown, (height, width, 3)."""
        shown = self.reasons.shown(self.replayed.images.batch.images)
        pixels: npt.NDArray[np.uint8] = shown[0].permute(1, 2, 0).numpy()
        return pixels

    @property
    def logits(self) -> Floats:
        """What the network says of it, (K,)."""
        return _numbers(self.replayed.output)

    @property
    def grid(self) -> tuple[int, ...]:
        """Rows and columns of the layer, where units can be edited at single positions; empty where it has none."""
        grid = tuple(self.replayed.activation(self.replayed.cut.layer).shape[2:])
        return grid if len(grid) == 2 else ()

    def with_edits(self, edits: Sequence[UnitEdit]) -> Floats:
        """What the network says with units edited, one edit after the other, (K,).

        Raises
        ------
        UnitlensError
            If an edit is of another layer, of units that are not there, or of another grid.
        """
        layer, replayed = self.replayed.cut.layer, self.replayed
        for edit in edits:
            if edit.layer != layer:
                raise UnitlensError(f"An edit is of {display_name(edit.layer)}, and explored is {display_name(layer)}.")
            edit.check(display_name(layer), replayed.activation(layer).shape[1], self.grid)
        return _numbers(output_with(replayed.cut, replayed.state, edits, replayed.spaces))

    def maps(self, units: Sequence[int]) -> npt.NDArray[np.float32]:
        """Activations of some units, (n, h, w), as the dissection reads them; no finer than the label grid.

        Brought to the label grid, they are above the unit's threshold where its mask is.
        """
        maps = self.reasons.maps(self.replayed.recorded[self.replayed.cut.layer])[:, list(units)].float()
        return at_most_grid(maps, self.reasons.settings.grid)[0].cpu().numpy()

    def explain(self, class_: int | None = None, *, between: Between = go_on) -> Explanation:
        """What every unit, and every concept, does to a class, exactly as `unitlens.explain` says it.

        Parameters
        ----------
        class_ : int, optional
            The output that is followed; the predicted one, unless given.
        between : callable
            See `Between`.
        """
        replayed = ReplayedInBlocks.of(self.replayed, between)
        return replace(self.reasons, class_=class_).explain(replayed, self._alone(replayed), share=self.share)

    def smallest_set(self, *, between: Between = go_on) -> SmallestSet:
        """The smallest set of units whose removal changes the prediction, as `unitlens.explain` finds it."""
        replayed = ReplayedInBlocks.of(self.replayed, between)
        return smallest_set(replayed, self._alone(replayed), share=self.share, most=MOST)

    @property
    def longest_search(self) -> int:
        """So many replays the search for it takes at most."""
        units = self.replayed.activation(self.replayed.cut.layer).shape[1]
        return most_replays(units, share=self.share)

    def _alone(self, replayed: Replayed) -> Floats:
        """Outputs with every unit ablated alone, (U, K), computed once."""
        if not self._single:
            self._single.append(alone(replayed))
        return self._single[0]


def _numbers(output: Output) -> Floats:
    assert isinstance(output, Tensor)
    numbers: Floats = output[0].double().cpu().numpy()
    return numbers


def probabilities(logits: Floats) -> Floats:
    """Their softmax."""
    found: Floats = torch.from_numpy(logits).softmax(0).numpy()
    return found
